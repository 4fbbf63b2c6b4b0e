"""The taxi pipeline's features and network once more, in the form that TFX's components take.

What is learnt and trained is that of `pipelines/taxi/module.py`: the same scaling, buckets and
vocabularies, the same embeddings and layers, the same optimiser. Keras 2, which is what
tf.Transform 1.16 works with.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx_bsl.public import tfxio

LABEL = "big_tip"
RAW_LABEL = "tips"

DENSE = ("trip_miles", "fare", "trip_seconds")
BUCKETS = {
    "pickup_latitude": 10,
    "pickup_longitude": 10,
    "dropoff_latitude": 10,
    "dropoff_longitude": 10,
}
VOCABULARIES = {"payment_type": 100, "company": 1000}
CATEGORIES = {
    "trip_start_hour": 25,
    "trip_start_day": 9,
    "trip_start_month": 14,
    "pickup_community_area": 79,
    "dropoff_community_area": 79,
}
SIZES = {**BUCKETS, **{name: size + 1 for name, size in VOCABULARIES.items()}, **CATEGORIES}


def preprocessing_fn(inputs):
    outputs = {}
    for name in DENSE:
        outputs[name] = tft.scale_to_z_score(tf.cast(_filled(inputs[name], 0), tf.float32))
    for name, buckets in BUCKETS.items():
        outputs[name] = tft.bucketize(_filled(inputs[name], 0.0), buckets)
    for name, size in VOCABULARIES.items():
        outputs[name] = tft.compute_and_apply_vocabulary(
            _filled(inputs[name], ""), top_k=size, num_oov_buckets=1, vocab_filename=name
        )
    for name, size in CATEGORIES.items():
        value = _filled(inputs[name], size - 1)
        outputs[name] = tf.clip_by_value(value, 0, size - 1)

    fare, tips = _filled(inputs["fare"], 0.0), _filled(inputs[RAW_LABEL], 0.0)
    outputs[LABEL] = tf.cast(tips > 0.2 * fare, tf.int64)
    return outputs


def _filled(value, default):
    """[batch, 1] without missing values; a column with gaps comes as a sparse tensor."""
    if not isinstance(value, tf.SparseTensor):
        return value
    rows = tf.SparseTensor(value.indices, value.values, [value.dense_shape[0], 1])
    return tf.sparse.to_dense(rows, tf.constant(default, value.dtype))


def run_fn(fn_args):
    graph = tft.TFTransformOutput(fn_args.transform_output)
    batch_size = fn_args.custom_config["batch_size"]
    model = _network()
    model.fit(
        _batches(fn_args.train_files, fn_args, graph, batch_size),
        steps_per_epoch=fn_args.train_steps,
        validation_data=_batches(fn_args.eval_files, fn_args, graph, batch_size),
        validation_steps=fn_args.eval_steps,
        verbose=2,
    )

    # a saved model keeps the layers that it holds as attributes
    model.graph_for_serving = graph.transform_features_layer()
    model.graph_for_evaluation = graph.transform_features_layer()
    takes = [tf.TensorSpec([None], tf.string, name="examples")]

    @tf.function(input_signature=takes)
    def serving_default(examples):
        specs = graph.raw_feature_spec()
        del specs[RAW_LABEL]
        features = model.graph_for_serving(tf.io.parse_example(examples, specs))
        return {"prediction": model({name: features[name] for name in model.input_names})}

    @tf.function(input_signature=takes)
    def transform_features(examples):
        return model.graph_for_evaluation(tf.io.parse_example(examples, graph.raw_feature_spec()))

    signatures = {"serving_default": serving_default, "transform_features": transform_features}
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures=signatures)


def _batches(files, fn_args, graph, batch_size):
    return fn_args.data_accessor.tf_dataset_factory(
        files,
        tfxio.TensorFlowDatasetOptions(batch_size=batch_size, label_key=LABEL),
        graph.transformed_metadata.schema,
    ).repeat()


def _network():
    inputs = {name: keras.Input([1], name=name, dtype=tf.float32) for name in DENSE}
    inputs |= {name: keras.Input([1], name=name, dtype=tf.int64) for name in SIZES}
    dense = keras.layers.Concatenate()([inputs[name] for name in DENSE])
    embedded = [
        keras.layers.Flatten()(keras.layers.Embedding(size, 8, name=f"embed_{name}")(inputs[name]))
        for name, size in SIZES.items()
    ]
    hidden = keras.layers.Concatenate()([dense, *embedded])
    for units in (100, 70, 50, 25):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    probability = keras.layers.Dense(1, activation="sigmoid", name="prediction")(hidden)

    model = keras.Model(inputs, probability)
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
    )
    return model
