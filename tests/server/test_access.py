"""Tokens, scopes, TLS and client certificates."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from running import MIXED

from edgeline.server import __main__ as command
from edgeline.server import main
from edgeline.server.health_check import is_ready
from edgeline.server.versions import trial

pytestmark = pytest.mark.slow


@pytest.fixture
def model(tmp_path):
    (tmp_path / "m.tflite").write_bytes(MIXED.read_bytes())
    return tmp_path / "m.tflite"


@pytest.fixture
def tokens(tmp_path):
    file = tmp_path / "tokens.json"
    entries = [
        {"sha256": hashlib.sha256(token.encode()).hexdigest(), "scopes": [scope]}
        for token, scope in (
            ("camera", "predict"),
            ("operator", "admin"),
            ("prometheus", "metadata"),
        )
    ]
    file.write_text(json.dumps({"tokens": entries}))
    return file


@pytest.fixture
def refused(monkeypatch, capsys):
    """The command in this process, which is left as it was: its exit code and what it prints."""
    monkeypatch.setattr(trial, "forked", lambda: None)
    monkeypatch.setattr(main, "limit_heaps", lambda: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)

    def run(*arguments):
        try:
            code = command.main(list(arguments))
        except SystemExit as ended:
            code = ended.code
        return code, capsys.readouterr().err

    return run


def test_scopes(start, model, tokens):
    server = start(model, f"--tokens={tokens}")

    def status(method: str, path: str, token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = b"{}" if method == "POST" else None
        return server.ask(method, path, body, headers)[0]

    assert status("GET", "/v2/health/ready", None) == 200
    assert status("GET", "/v2/models/m", None) == 401
    assert status("GET", "/metrics", None) == 401
    assert status("GET", "/v2/models/m", "wrong") == 401
    assert status("GET", "/v2/models/m", "camera") == 200
    assert status("POST", "/v2/models/m/infer", "camera") == 400
    assert status("POST", "/v2/repository/models/m/load", "camera") == 403
    assert status("POST", "/v2/repository/models/m/load", "operator") == 200
    assert status("GET", "/v2/models/m", "operator") == 200
    for path in ("/metrics", "/v2/models/m", "/v2/models/m/ready", "/v1/models/m"):
        assert status("GET", path, None) == 401
        assert status("GET", path, "prometheus") == 200
        assert status("GET", path, "camera") == 200
    assert status("POST", "/v2/models/m/infer", "prometheus") == 403
    assert status("GET", "/overview", "prometheus") == 403


TOKEN = f'{{"sha256": "{"0" * 64}", "scopes": ["predict"]}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 200_000,
        '{"tokens": {}}',
        '{"tokens": [{}]}',
        '{"tokens": [{"sha256": "ab", "scopes": ["predict"]}]}',
        f'{{"tokens": [{{"sha256": "{"z" * 64}", "scopes": ["predict"]}}]}}',
        f'{{"tokens": [{{"sha256": "{"0" * 64}", "scopes": []}}]}}',
        f'{{"tokens": [{{"sha256": "{"0" * 64}", "scopes": ["all"]}}]}}',
        f'{{"tokens": [{", ".join([TOKEN, TOKEN])}]}}',
    ],
    ids=range(10),
)
def test_a_broken_token_file_is_named(refused, model, tmp_path, text):
    file = tmp_path / "tokens.json"
    file.write_text(text)
    code, said = refused(str(model), f"--tokens={file}")
    assert code == 2
    assert "tokens.json" in said


def https(server, path: str, context: ssl.SSLContext) -> int:
    url = f"https://127.0.0.1:{server.http}{path}"
    try:
        with urllib.request.urlopen(url, context=context, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_tls_and_client_certificates(start, model, certificates, tokens):
    files = [f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"]
    server = start(model, *files)
    trusting = ssl.create_default_context(cafile=f"{certificates}/ca.pem")
    assert https(server, "/v2/models/m", trusting) == 200

    mutual = start(model, *files, f"--client-ca={certificates}/ca.pem", f"--tokens={tokens}")
    with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
        https(mutual, "/v2/health/live", trusting)
    trusting.load_cert_chain(f"{certificates}/client.pem", f"{certificates}/client.key")
    assert https(mutual, "/v2/models/m", trusting) == 200  # the certificate allows predict


def test_grpc_over_tls(start, model, certificates):
    grpc = pytest.importorskip("grpc")
    files = [f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"]
    server = start(model, *files)
    credentials = grpc.ssl_channel_credentials((certificates / "ca.pem").read_bytes())
    for port in (server.grpc, server.http):
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert live(b"", timeout=20) == b"\x08\x01"


def test_rest_over_tls_for_clients_that_offer_http2(start, model, certificates):
    """Browsers, curl, Go, Prometheus and httpx offer both, and get HTTP/2 for REST, too."""
    files = [f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"]
    server = start(model, *files)
    trusting = ssl.create_default_context(cafile=f"{certificates}/ca.pem")
    for port, offered, chosen in (
        (server.http, ["http/1.1", "h2"], "h2"),
        (server.http, ["http/1.1"], "http/1.1"),
        (server.http, ["h2"], "h2"),
        (server.grpc, ["h2"], "h2"),
        (server.grpc, ["http/1.1", "h2"], "h2"),
    ):
        trusting.set_alpn_protocols(offered)
        plain = socket.create_connection(("127.0.0.1", port))
        with trusting.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() == chosen


@pytest.mark.skipif(shutil.which("curl") is None, reason="NO CURL on this machine")
@pytest.mark.parametrize("how", ["--http1.1", "--http2", "--http2-prior-knowledge"])
def test_curl_over_tls_and_without(start, model, certificates, how):
    files = [f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"]
    trusted = ["--cacert", f"{certificates}/ca.pem"]
    version = ["-w", " by HTTP/%{http_version}"]
    for scheme, server in (("https", start(model, *files)), ("http", start(model))):
        url = f"{scheme}://localhost:{server.http}/v2"
        for call in ([f"{url}/health/live"], ["-d", "{}", f"{url}/repository/index"]):
            said = subprocess.run(
                ["curl", "-sS", "--fail", "--max-time", "30", *version, how, *trusted, *call],
                capture_output=True,
                text=True,
            )
            assert said.returncode == 0, said.stderr
            assert said.stdout.startswith(('{"live":true}', '[{"name":"m"'))
            # without TLS, --http2 asks HTTP/1.1 for an upgrade, which RFC 9113 has dropped
            by_http2 = "prior" in how or (how == "--http2" and scheme == "https")
            assert said.stdout.endswith(" by HTTP/2" if by_http2 else " by HTTP/1.1")


def test_the_images_health_check_asks_by_tls_too(start, model, certificates):
    files = [f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"]
    both = [*files, f"--client-ca={certificates}/ca.pem"]
    for options in ([], files, both):
        server = start(model, *options)
        assert is_ready(server.http)
        server.stop()
        assert not is_ready(server.http)
    server = start(model)
    assert server.ask("POST", "/v2/repository/models/m/unload")[0] == 200
    assert is_ready(server.http) == (server.ask("GET", "/v2/health/ready")[0] == 200)


def test_a_browser_asks_over_http2(start, model, certificates, tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: HTTP/2 was not seen in a real browser")
    files = [f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"]
    server, log = start(model, *files), tmp_path / "net.json"
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
            "--ignore-certificate-errors", "--virtual-time-budget=3000", "--dump-dom",
            f"https://localhost:{server.http}/",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ">ready<" in done.stdout  # the page, and the data that its script asks for
    events = json.loads(log.read_text())
    kinds = events["constants"]["logEventTypes"]
    asked = [
        str(event["params"]["headers"])
        for event in events["events"]
        if event["type"] == kinds["HTTP2_SESSION_SEND_HEADERS"]
    ]
    assert any(":path: /" in headers for headers in asked)
    assert len(asked) > 1


def test_without_a_token_health_tells_of_the_server_alone(start, model, tokens):
    grpc = pytest.importorskip("grpc")
    server = start(model, f"--tokens={tokens}")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        for method in ("Check", "Watch"):
            ask = channel.unary_stream(f"/grpc.health.v1.Health/{method}")
            whole = ask(b"", timeout=20)
            assert next(whole) == b"\x08\x01"
            whole.cancel()
            with pytest.raises(grpc.RpcError) as refused:
                next(ask(b"\x0a\x01m", timeout=20))
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            of_model = ask(b"\x0a\x01m", timeout=20, metadata=[("authorization", "Bearer camera")])
            assert next(of_model) == b"\x08\x01"
            of_model.cancel()
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as refused:
            next(stream(iter([]), timeout=20))  # before the first message
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_grpc_tokens(start, model, tokens):
    grpc = pytest.importorskip("grpc")
    server = start(model, f"--tokens={tokens}")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        metadata = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
        with pytest.raises(grpc.RpcError) as refused:
            metadata(b"", timeout=20)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert b"edgeline" in metadata(
            b"", timeout=20, metadata=[("authorization", "Bearer camera")]
        )
        unknown = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
        with pytest.raises(grpc.RpcError) as refused:
            unknown(b"", timeout=20)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--certificate=/none.pem"], "both a certificate and a key"),
        (["--certificate=/none.pem", "--key=/none.key"], "/none.pem is missing"),
        ([f"--certificate={__file__}", f"--key={__file__}"], "test_access.py cannot be used"),
        (["--tokens=/none.json"], "/none.json cannot be read"),
        (["--rollouts=/none.json"], "/none.json is missing"),
        ([f"--rollouts={__file__}"], "test_access.py is not JSON"),
        (["--webhook=http://127.0.0.1:9", "--webhook-key=/none.key"], "/none.key cannot be read"),
        (["--webhook=ftp://none"], "webhook is not a URL"),
        (["--traces=otel:4318"], "traces is not a URL"),
        (["--log=loud"], "log is 'loud'"),
        (["--names="], "--names is empty"),
        (["--cors=*"], "--cors has '*': give origins"),
        (["--cors=https://a.example/"], "--cors has 'https://a.example/'"),
        (["--cors=a.example"], "--cors has 'a.example'"),
        (["--payload-redact="], "--payload-redact is empty"),
        (["--port=8080", "--grpc-port=8080"], "are both 8080"),
        (["--max-connections=0"], "--max-connections is 0"),
        (["--max-body=0"], "--max-body is 0"),
        (["--payloads=/none", "--payload-rate=0"], "payload_rate is 0"),
        ([f"--payloads={__file__}/folder"], "give another folder"),
        (["--root=/none.json"], "--root needs --state"),
        (["--webhook-key=/none.key"], "give one of them, too"),
        (["--device=edge-7"], "give --webhook, --mqtt, --fleet or --root, too"),
        (["--webhook=http://127.0.0.1:9", "--device=a/models/b"], "letters, digits"),
        (["--payload-redact=name"], "--payload-redact is for --payloads"),
        (["--batch=99999999999999999999999"], "give a number from 0 to 2147483647"),
        (["--max-body=99999999999999999999999"], "--max-body is 9999"),
        (["--poll=1e300"], "--poll is 1e+300"),
        (["--por=0"], "unrecognized arguments: --por=0"),
        (["--port=0", "--port=1"], "--port is given twice"),
        (["--state=/proc/x"], "--state /proc/x cannot be written"),
        (["--port=0", "--host=0.0.0.0"], "--host 0.0.0.0 is reached by other machines"),
        (["--port=0", "--host=::"], "give --tokens with a file"),
        (["--port=0", "--host= "], "choose another with --port or --host"),
        (["--port=0", "--host=a..b"], "choose another with --port or --host"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(refused, model, options, said, caplog):
    caplog.set_level(logging.INFO)
    code, told = refused(str(model), *options)
    assert code == 2, told
    assert said in told
    assert "Serving model" not in caplog.text  # before any is loaded


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost"])
def test_a_loopback_address_needs_no_tokens(start, model, host):
    assert start(model, f"--host={host}")


def test_no_tokens_is_a_choice_where_other_machines_reach_the_server(start, model, tokens):
    options = ("--host=0.0.0.0", "--tokens")
    assert start(model, *options, "none").ask("GET", "/v2/models/m")[0] == 200
    assert start(model, *options, str(tokens)).ask("GET", "/v2/models/m")[0] == 401


def test_a_token_file_without_a_token_is_wrong_usage(model, tmp_path):
    (tmp_path / "none.json").write_text('{"tokens": []}')
    command = [sys.executable, "-m", "edgeline.server", str(model), "--tokens=none.json"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "none.json has no token" in ended.stderr


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "edgeline.server", str(model), f"--port={port}"]
        ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    assert "Address already in use" in ended.stderr
    assert "Serving" not in ended.stderr


@pytest.mark.parametrize(("content", "code"), [(b"", 2), (b"hello", 2), (b"aaaaTFL3garbage", 1)])
def test_a_file_that_is_no_model_is_wrong_usage_and_a_damaged_one_a_failure(
    tmp_path, content, code
):
    file = tmp_path / "m.tflite"
    file.write_bytes(content)
    serve, check = ["edgeline.server", str(file), "--port=0"], ["edgeline", "check", str(file)]
    for arguments in (serve, check):
        command = [sys.executable, "-m", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == code, ended.stderr
        assert "m.tflite" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(start, model):
    server = start(model)
    command = [sys.executable, "-m", "edgeline.server", str(model), f"--port={server.http}"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"Port {server.http}" in ended.stderr
