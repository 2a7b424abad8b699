"""Writes keras_models.safetensors: the results of Keras for the time-series models of this package.

The file was made with tensorflow 2.21.0 and keras 3.15.1 on the CPU:

    pip install tensorflow==2.21.* keras safetensors && python keras_models.py

For each model, at small sizes and with random weights from a seed, the file has an input batch `x`, targets `y`, the weights
`w.N` in the order of `model.weights` of Keras, the output `out`, the learning rate `lr`, and the weights `s.N` after one step of
SGD with momentum 0.9.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from safetensors.numpy import save_file

BATCH, WINDOW, FEATURES, HORIZON, TARGETS = 5, 7, 2, 3, 2


def head(scale):
    return [layers.Dense(HORIZON * TARGETS), layers.Lambda(lambda y: y * scale)]


MODELS = {
    "linear": ([layers.Flatten(), layers.Dense(HORIZON * TARGETS)], "mse"),
    "dnn": (
        [
            layers.Flatten(),
            layers.Dense(10, activation="relu"),
            layers.Dense(10, activation="relu"),
            layers.Dense(HORIZON * TARGETS),
        ],
        "mse",
    ),
    "rnn": (
        [layers.SimpleRNN(9, return_sequences=True), layers.SimpleRNN(9), *head(100)],
        "huber",
    ),
    "lstm": ([layers.LSTM(6), *head(100)], "mse"),
    "lstm_bidirectional": (
        [
            layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(6)),
            *head(100),
        ],
        "mse",
    ),
    "gru": ([layers.GRU(6), *head(100)], "mse"),
    "gru_bidirectional": ([layers.Bidirectional(layers.GRU(6)), *head(100)], "mse"),
    "conv_lstm": (
        [
            layers.Conv1D(4, 5, padding="causal", activation="relu"),
            layers.LSTM(6, return_sequences=True),
            layers.LSTM(6),
            *head(200),
        ],
        "huber",
    ),
    # Each time step has an output, with one target per feature.
    "conv_lstm_sequence": (
        [
            layers.Conv1D(4, 5, padding="causal", activation="relu"),
            layers.LSTM(6, return_sequences=True),
            layers.LSTM(6, return_sequences=True),
            layers.Dense(TARGETS),
            layers.Lambda(lambda y: y * 200),
        ],
        "huber",
    ),
}


def main():
    tensors = {}
    for seed, (name, (stack, loss)) in enumerate(MODELS.items()):
        rng = np.random.default_rng(seed)
        model = keras.Sequential([keras.Input((WINDOW, FEATURES)), *stack])
        model.set_weights([rng.normal(0, 0.3, w.shape).astype("float32") for w in model.weights])
        x = rng.normal(0, 1, (BATCH, WINDOW, FEATURES)).astype("float32")
        out = model(x).numpy()
        y = rng.normal(0, 1, out.shape).astype("float32")
        keep = lambda prefix: {
            f"{name}.{prefix}.{i}": w for i, w in enumerate(model.get_weights())
        }
        tensors |= {f"{name}.x": x, f"{name}.y": y, f"{name}.out": out} | keep("w")
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(keras.losses.get(loss)(y, model(x)))
        grads = tape.gradient(value, model.trainable_weights)
        # Every tensor then has a step of at least 0.01, which is large enough for a comparison with tolerance 1e-5.
        lr = 0.01 / min(float(np.abs(g).max()) for g in grads)
        tensors[f"{name}.lr"] = np.array([lr], "float32")
        model.compile(optimizer=keras.optimizers.SGD(lr, momentum=0.9), loss=loss)
        model.train_on_batch(x, y)
        tensors |= keep("s")
    save_file(tensors, "keras_models.safetensors")


if __name__ == "__main__":
    main()
