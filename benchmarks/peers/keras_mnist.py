"""Keras 3 on TensorFlow: the founding text's network on MNIST, timed; prints one line of JSON.

Runs in an environment of its own (`pip install keras tensorflow-cpu`), never in ours. The founding
text's settings (its own batch size apart), with its double softmax mended as in ours: logits, and a
loss that knows it. A warm-up batch builds the graph outside of the time; data is in memory already;
the test is outside of the time. Run: `python keras_mnist.py FOLDER BATCH EPOCHS SEED
IMAGES`, of which the first IMAGES are learned.
"""

import gzip
import json
import os
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow

FOLDER = sys.argv[1]
BATCH, EPOCHS, SEED, IMAGES = (int(x) for x in sys.argv[2:6])


def idx(name: str, head: int) -> np.ndarray:
    with gzip.open(f"{FOLDER}/{name}-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=head)


def images(part: str) -> np.ndarray:
    return idx(f"{part}-images-idx3", 16).reshape(-1, 28, 28, 1).astype("float32") / 255


def labels(part: str) -> np.ndarray:
    return idx(f"{part}-labels-idx1", 8).astype("int32")


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


keras.utils.set_random_seed(SEED)
layers = keras.layers
network = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10),
    ]
)
network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x, y = images("train")[:IMAGES], labels("train")[:IMAGES]
before = network.get_weights()
network.fit(x[:BATCH], y[:BATCH], batch_size=BATCH, epochs=1, verbose=0)
network.set_weights(before)  # Adam's averages keep one batch: without effect on time
start, cpu = time.perf_counter(), cpu_seconds()
network.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
answers = network.predict(images("t10k"), batch_size=256, verbose=0).argmax(1)
print(
    json.dumps(
        {
            "seconds": seconds,
            "cpu_s": cpu,
            "images_per_s": len(x) * EPOCHS / seconds,
            "test_accuracy": float((answers == labels("t10k")).mean()),
            "batch": BATCH,
            "epochs": EPOCHS,
            "keras": keras.__version__,
            "tensorflow": tensorflow.__version__,
            "python": sys.version.split()[0],
        }
    )
)
