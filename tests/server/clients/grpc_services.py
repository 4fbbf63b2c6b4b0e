"""grpcio alone: reflection in both versions, calls made of what it describes, and health."""

import sys

import grpc
from checks import Checks
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tritonclient.grpc import service_pb2

port, done = sys.argv[1], Checks()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
VERSIONS = ("v1", "v1alpha")
SERVICES = {
    *("inference.GRPCInferenceService", "grpc.health.v1.Health"),
    *("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"),
    *(f"grpc.reflection.{version}.ServerReflection" for version in VERSIONS),
}
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def field(number, text):
    """A message with one short text, as it is on the wire."""
    return bytes((number << 3 | 2, len(text))) + text.encode()


def ask(version, *questions):
    """The answers to questions of a reflection service, without any description of it."""
    method = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    )
    return list(method(iter(questions), timeout=30))


def parts(data):
    """Number and content of each field of a message that has short and long ones alone."""
    place = 0
    while place < len(data):
        number, wire, place = data[place] >> 3, data[place] & 7, place + 1
        size = shift = 0
        while True:
            size |= (data[place] & 127) << shift
            shift, place = shift + 7, place + 1
            if data[place - 1] < 128:
                break
        if wire == 0:
            yield number, size
        else:
            yield number, data[place : place + size]
            place += size


def listed(version):
    answer = dict(parts(ask(version, field(7, "*"))[0]))[6]
    return {dict(parts(service))[1].decode() for _, service in parts(answer)}


def files(version):
    """Each described file by its name, with those that it needs."""
    found, wanted = {}, []
    for service in SERVICES:
        answer = dict(parts(ask(version, field(4, service))[0]))[4]
        wanted += [content for _, content in parts(answer)]
    while wanted:
        file = descriptor_pb2.FileDescriptorProto.FromString(wanted.pop())
        if file.name not in found:
            found[file.name] = file
            for name in file.dependency:
                answer = dict(parts(ask(version, field(3, name))[0]))[4]
                wanted += [content for _, content in parts(answer)]
    return found


def pool_of(described):
    pool, left = descriptor_pool.DescriptorPool(), dict(described)
    while left:
        ready = [f for f in left.values() if not set(f.dependency) & set(left)]
        for file in ready:
            pool.Add(file)
            del left[file.name]
    for service in SERVICES:
        pool.FindServiceByName(service)
    return pool


pool = pool_of(files("v1"))


def as_triton_has_it():
    """Each message, field, type and method of the description is in Triton's own."""
    theirs = service_pb2.DESCRIPTOR.pool
    ours = pool.FindServiceByName("inference.GRPCInferenceService")
    seen = set()

    def compare(message):
        if message.full_name in seen or message.full_name.endswith(("LoadResponse", "Entry")):
            return
        seen.add(message.full_name)
        real = theirs.FindMessageTypeByName(message.full_name).fields_by_number
        for each in message.fields:
            other = real[each.number]
            mine = (each.name, each.type, each.is_repeated, bool(each.containing_oneof))
            assert mine == (
                *(other.name, other.type, other.is_repeated),
                bool(other.containing_oneof),
            ), each.full_name
            if each.message_type is not None:
                assert each.message_type.full_name == other.message_type.full_name
                compare(each.message_type)

    real = theirs.FindServiceByName(ours.full_name).methods_by_name
    for method in ours.methods:
        other = real[method.name]
        assert method.client_streaming == other.client_streaming
        assert method.server_streaming == other.server_streaming
        for mine, its in (
            (method.input_type, other.input_type),
            (method.output_type, other.output_type),
        ):
            assert mine.full_name == its.full_name
            compare(mine) if not mine.full_name.endswith("UnloadResponse") else None
    return len(seen) > 25


def call(path, kind="unary_unary"):
    """A method by what reflection says of it, as grpcurl calls it."""
    service, name = path.split("/")
    method = pool.FindServiceByName(service).FindMethodByName(name)
    takes, gives = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    made = getattr(channel, kind)(
        f"/{path}",
        request_serializer=takes.SerializeToString,
        response_deserializer=gives.FromString,
    )
    return lambda **given: made(takes(**given), timeout=60)


def not_described():
    answers = ask(
        "v1", field(4, "acme.Nothing"), field(3, "x.proto"), field(6, "acme.Nothing"), b""
    )
    codes = [dict(parts(dict(parts(answer))[7]))[1] for answer in answers]
    return codes == [5, 5, 5, 3]


for version in VERSIONS:
    done(f"reflection {version} lists", lambda version=version: listed(version) == SERVICES)
done("both describe the same", lambda: files("v1") == files("v1alpha"))
done("as Triton's .proto has it", as_triton_has_it)
done("what is not there is said", not_described)
done(
    "a call by reflection",
    lambda: (
        call("inference.GRPCInferenceService/ModelConfig")(name="mixed").config.input[0].data_type
        > 0
    ),
)

check, watch = (
    call("grpc.health.v1.Health/Check"),
    call("grpc.health.v1.Health/Watch", "unary_stream"),
)
for name in ("", "mixed", *SERVICES):
    done(f"health of {name!r}", lambda name=name: check(service=name).status == SERVING)


def unknown():
    try:
        check(service="none")
    except grpc.RpcError as error:
        return error.code() == grpc.StatusCode.NOT_FOUND
    return False


done("health of what there is not", unknown)

load, unload = (
    call(f"inference.GRPCInferenceService/RepositoryModel{do}") for do in ("Load", "Unload")
)


def watched():
    """A model goes and comes; one that there is not stays unknown."""
    stream, unknown = watch(service="mixed"), watch(service="none")
    found = [next(stream).status]
    unload(model_name="mixed")
    found.append(next(stream).status)
    load(model_name="mixed")
    found.append(next(stream).status)
    found.append(next(unknown).status)
    stream.cancel()
    unknown.cancel()
    return found == [SERVING, NOT_SERVING, SERVING, SERVICE_UNKNOWN]


def thousands():
    """2,000 watches on ten connections at once, all told of one change."""
    channels = [
        grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(10)
    ]
    streams = [
        each.unary_stream("/grpc.health.v1.Health/Watch")(field(1, "mixed"), timeout=120)
        for each in channels
        for _ in range(200)
    ]
    first = [next(stream)[-1] for stream in streams]
    unload(model_name="mixed")
    second = [next(stream)[-1] for stream in streams]
    load(model_name="mixed")
    for stream in streams:
        stream.cancel()
    for each in channels:
        each.close()
    return set(first) == {SERVING} and set(second) == {NOT_SERVING}


done("watch", watched)
done("thousands watch", thousands)
done("afterwards", lambda: check(service="").status == SERVING)
done.end()
