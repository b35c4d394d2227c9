import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield
