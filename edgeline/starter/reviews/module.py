"""Words of a text as numbers. LiteRT reads no text, so these are host operations of the bundle:
the server computes them exactly as the training does."""

from edgeline.preprocessing import fill_missing

WORDS = 16  # of a text that are read; later ones are not
KNOWN = 500  # words of the vocabulary; all others count as one more


def preprocessing_fn(inputs):
    """Lower-case words without punctuation, by their place in the vocabulary, [batch, 16]."""
    import tensorflow as tf
    import tensorflow_transform as tft

    text = tf.strings.lower(fill_missing(tf.squeeze(inputs["text"], 1), ""))
    text = tf.strings.strip(tf.strings.regex_replace(text, r"[^a-z ]+", ""))
    words = tf.strings.split(text, " ").to_tensor("", shape=[None, WORDS])
    return {
        "words": tft.compute_and_apply_vocabulary(
            words, top_k=KNOWN, num_oov_buckets=1, vocab_filename="words"
        ),
        "topic": tft.compute_and_apply_vocabulary(inputs["topic"], vocab_filename="topic"),
    }


def build_model(features, hyperparameters):
    """The mean of what the words stand for, whatever their order."""
    import keras

    words = keras.Input(features["words"].shape[1:], name="words", dtype="int64")
    hidden = keras.layers.Embedding(KNOWN + 1, hyperparameters.get("units", 16))(words)
    hidden = keras.layers.GlobalAveragePooling1D()(hidden)
    topics = keras.layers.Dense(4, "softmax", name="prediction")(hidden)
    model = keras.Model({"words": words}, topics)
    model.compile(
        keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model
