"""How the artifact of a retriever says what it is: its properties in ML Metadata and its folders."""

VERSION_PROPERTY = "version"
"""Of the index: the directory that the retriever is served from."""
MODEL_VERSION_PROPERTY = "model_version"
KIND_PROPERTY = "index_kind"
CATALOG_FOLDER = "catalog"
"""Below the artifact: the arrays of `tfx_pipeline.index.catalog`."""
