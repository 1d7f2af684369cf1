import pytest
import torch
from torch import nn

from models.export.answer import Answer
from models.export.graph import TOLERANCE, Graph, write_graph
from models.fusion.pool import pooled
from models.losses import log_scores


class Given(nn.Module):
    """Answers with what it is given, as a network that has learned its clips well does."""

    def forward(self, batch):
        return {"audio": batch["audio"]}


@pytest.mark.parametrize("weight", [0.3, 2.0])
def test_a_sure_network_answers_as_in_torch(tmp_path, weight):
    pool = {"audio": weight}
    torch.manual_seed(0)
    rows = [scale * torch.randn(7) - shift for scale in (1, 10, 40) for shift in (0, 20, 60)]

    def reference(trial):
        logits = torch.from_numpy(trial["audio"])[None]
        return (pooled({"audio": log_scores(logits)}, pool)[0],)

    trials = [{"audio": row.numpy()} for row in rows]
    module = Answer(Given(), "audio", False, pool)
    graph = Graph("audio_head", module, ("probabilities",), reference, trials)
    assert write_graph(graph, tmp_path) <= TOLERANCE / 10
