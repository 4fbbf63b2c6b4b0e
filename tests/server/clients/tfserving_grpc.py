"""The calls of tensorflow-serving-api's stubs that apply."""

import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import grpc
import numpy as np
import tensorflow as tf
from checks import Checks, image, mixed_inputs
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
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
done.refused("unknown model", grpc.RpcError, lambda: predict("none", {}))
done.refused("unknown version", grpc.RpcError, lambda: picture(version=9))
done.refused("unknown label", grpc.RpcError, lambda: picture(label="none"))
done.refused("unknown output", grpc.RpcError, lambda: picture(outputs=["none"]))
done.refused("wrong dtype", grpc.RpcError, lambda: predict("mobilenet", {"input": [1.5]}))
done.end()
