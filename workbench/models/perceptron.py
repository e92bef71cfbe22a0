"""The feed-forward network of study S2."""

from torch import Tensor, nn


class Perceptron(nn.Module):
    """``depth`` hidden layers of ``width`` rectified units over the flattened image.

    Study S2 used one of 50 units. It takes images of one size alone.
    """

    def __init__(self, inputs: int, *, classes: int, width: int = 50, depth: int = 1) -> None:
        super().__init__()
        if width < 1 or depth < 0:
            raise ValueError(f"mlp: width {width} and depth {depth} make no network.")
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(inputs, classes)

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, H, W) to logits (N, classes)."""
        logits: Tensor = self.output(self.hidden(values.flatten(1)))
        return logits
