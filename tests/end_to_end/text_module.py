"""A stranger's module whose features are read out of text, which LiteRT cannot."""

from edgeline.preprocessing import day_of_week, fill_missing, hour_of_day, parse_datetime


def preprocessing_fn(inputs):
    import tensorflow as tf
    import tensorflow_transform as tft

    code = tf.strings.upper(tf.strings.strip(inputs["code"]))
    digits = tf.strings.regex_replace(code, r"^[^0-9]*(\d*).*$", r"0\1")
    words = tf.strings.split(tf.squeeze(inputs["note"], 1), " ").to_tensor("", shape=[None, 2])
    time = parse_datetime(inputs["when"], "+01:00")
    return {
        "kind": tft.compute_and_apply_vocabulary(
            tf.strings.substr(fill_missing(code, "none"), 0, 2), num_oov_buckets=1
        ),
        "words": tft.compute_and_apply_vocabulary(words, num_oov_buckets=1),
        "bucket": tf.strings.to_hash_bucket_fast(code, 4),
        "hour": tf.cast(fill_missing(hour_of_day(time), 0), tf.float32) / 24.0,
        "day": tf.cast(fill_missing(day_of_week(time), 0), tf.float32) / 7.0,
        "number": tf.strings.to_number(tf.strings.substr(digits, 0, 4)) / 1000.0,
        "length": tf.cast(tf.strings.length(inputs["note"], "UTF8_CHAR"), tf.float32) / 16.0,
        "weight": tf.clip_by_value(tf.strings.to_number(inputs["weight"]), -50.0, 50.0) / 50.0,
        "late": tf.cast(inputs["late"] == "yes", tf.int64),
    }


def build_model(features, hyperparameters):
    import keras

    inputs = {k: keras.Input(v.shape[1:], name=k, dtype=v.dtype.name) for k, v in features.items()}
    sizes = {"kind": 8, "words": 16, "bucket": 4}
    parts = [
        keras.layers.Flatten()(keras.layers.Embedding(sizes[name], 3)(value))
        if name in sizes
        else value
        for name, value in inputs.items()
    ]
    hidden = keras.layers.Dense(hyperparameters.get("units", 8), "relu")(
        keras.layers.Concatenate()(parts)
    )
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", name="prediction")(hidden))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model
