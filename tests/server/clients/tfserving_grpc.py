"""The calls of tensorflow-serving-api's stubs that apply."""

import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import grpc
import numpy as np
import tensorflow as tf
from checks import Checks, image, mixed_inputs
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

done = Checks()
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)
OUTPUT = "MobilenetV1/Predictions/Reshape_1"


def predict(model, arrays, version=0, label="", outputs=()):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    if version:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    request.output_filter.extend(outputs)
    return predictions.Predict(request, 60)


def mixed():
    given = {name: array for name, (array, _) in mixed_inputs().items()}
    answer = predict("mixed", given)
    return (
        tf.make_ndarray(answer.outputs["score"]).tolist() == [[7.0], [16.0]]
        and list(answer.outputs["score"].float_val) == [7.0, 16.0]
        and tf.make_ndarray(answer.outputs["echo"]).tolist() == given["name"].tolist()
        and answer.model_spec.version.value == 1
    )


def metadata():
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "mixed"
    answer = predictions.GetModelMetadata(request, 60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["serving_default"].inputs
    return inputs["count"].dtype == tf.int64.as_datatype_enum and (
        [dim.size for dim in inputs["amount"].tensor_shape.dim] == [-1, 2]
    )


def status():
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "mobilenet"
    found = models.GetModelStatus(request, 60).model_version_status
    return [(s.version, s.state) for s in found] == [(2, 30), (1, 30)]


def feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if all(isinstance(item, int) for item in value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
    return tf.train.Feature(float_list=tf.train.FloatList(value=value))


def example(**features):
    given = {name: feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=given))


def of_examples(call, kind, model, examples, context=None):
    request = kind()
    request.model_spec.name = model
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return call(request, 60)


def classify(model, *examples, context=None):
    kind = classification_pb2.ClassificationRequest
    answer = of_examples(predictions.Classify, kind, model, examples, context)
    return answer.result.classifications


def regress(model, *examples, context=None):
    kind = regression_pb2.RegressionRequest
    answer = of_examples(predictions.Regress, kind, model, examples, context)
    return [one.value for one in answer.result.regressions]


def classified():
    pixels = image().ravel().tolist()
    answer = classify("mobilenet", example(input=pixels), example(input=pixels))
    scores = picture()[0].astype(np.float32) / 256
    got = [one.score for one in answer[1].classes]
    return (
        len(answer) == 2
        and np.allclose(got, scores, atol=1e-3)
        and [one.label for one in answer[0].classes][:2] == ["0", "1"]
    )


def several(*methods):
    request = inference_pb2.MultiInferenceRequest()
    for method in methods:
        task = request.tasks.add()
        task.model_spec.name = "regression"
        task.method_name = "tensorflow/serving/" + method
    request.input.example_list.examples.append(example(x=[1.5]))
    return predictions.MultiInference(request, 60)


def multiple():
    answer = several("regress", "classify")
    return (
        [one.value for one in answer.results[0].regression_result.regressions] == [4.0]
        and answer.results[1].classification_result.classifications[0].classes[0].score == 4.0
        and answer.results[1].model_spec.version.value == 1
    )


def picture(**more):
    answer = predict("mobilenet", {"input": image()}, **more)
    return tf.make_ndarray(answer.outputs[OUTPUT])


done("predict", mixed)
done("picture", lambda: picture().shape == (1, 1001) and picture().dtype == np.uint8)
done("version", lambda: (picture(version=1) == picture()).all())
done("label", lambda: (picture(label="canary") == picture()).all())
done("output filter", lambda: picture(outputs=[OUTPUT]).shape == (1, 1001))
done(
    "repeated last value",
    lambda: (
        predict(
            "mixed",
            {"amount": np.ones((9, 2), "f4"), "count": np.ones((9, 1), "i8"), "name": [["x"]] * 9},
        )
        .outputs["score"]
        .float_val
        == [5.0] * 9
    ),
)
done("metadata", metadata)
done("status", status)
done("classify", classified)
done("regress", lambda: regress("regression", example(x=[1.0]), example(x=[2.0])) == [3.0, 5.0])
done(
    "examples with a context",
    lambda: regress("regression", example(), example(), context=example(x=[2])) == [5.0, 5.0],
)
done("several tasks", multiple)
done.refused("a missing feature", grpc.RpcError, lambda: regress("regression", example()))
done.refused("a feature of bytes", grpc.RpcError, lambda: regress("regression", example(x=b"1")))
done.refused("too many values", grpc.RpcError, lambda: regress("regression", example(x=[1.0, 2.0])))
done.refused("no examples", grpc.RpcError, lambda: regress("regression"))
done.refused(
    "a feature twice",
    grpc.RpcError,
    lambda: regress("regression", example(x=[1.0]), context=example(x=[1.0])),
)
done.refused("several outputs", grpc.RpcError, lambda: regress("mixed", example()))
done.refused("an unknown method", grpc.RpcError, lambda: several("guess"))
done.refused("no tasks", grpc.RpcError, several)
done.refused("unknown model", grpc.RpcError, lambda: predict("none", {}))
done.refused("unknown version", grpc.RpcError, lambda: picture(version=9))
done.refused("unknown label", grpc.RpcError, lambda: picture(label="none"))
done.refused("unknown output", grpc.RpcError, lambda: picture(outputs=["none"]))
done.refused("wrong dtype", grpc.RpcError, lambda: predict("mobilenet", {"input": [1.5]}))
done.end()
