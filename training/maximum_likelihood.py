"""Fits positive parameters of probability models by penalised maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Float = npt.NDArray[np.float64]

_LOG_MAX: Final = 12.0
"""Bound of the logarithm of each parameter. The likelihood is flat beyond it."""
_RIDGE: Final = 1e-3
"""Ridge penalty on the logarithms, per customer. Without it, parameters diverge on small samples."""


def fit_parameters(log_likelihood: Callable[[Float], Float], count: int) -> Float:
    """Return the parameters of the highest penalised likelihood, (count,), from a start at 1.

    Args:
        log_likelihood: logarithms of the parameters, (count,) -> log-likelihood of each customer. The parameters
            should be near 1: scale times to that.
        count: number of parameters.
    """

    def loss(logs: Float) -> float:
        return float(-log_likelihood(logs).mean() + _RIDGE * (logs**2).mean())

    optimum = minimize(loss, np.zeros(count), method="L-BFGS-B", bounds=[(-_LOG_MAX, _LOG_MAX)] * count)
    parameters: Float = np.exp(optimum.x)
    return parameters
