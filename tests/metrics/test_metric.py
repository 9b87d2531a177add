import math

import pytest

from stages.metrics import Interval, Metric


def test_a_metric_has_a_value_or_a_reason() -> None:
    metric = Metric(0.5, 10, Interval(0.4, 0.6), "share")
    assert metric.to_json() == {"value": 0.5, "n": 10, "ci95": [0.4, 0.6], "protocol": "share"}
    missing = Metric.unavailable("no weights", "LPIPS")
    assert missing.to_json() == {"value": None, "n": 0, "ci95": None, "protocol": "LPIPS", "reason": "no weights"}
    with pytest.raises(ValueError, match="either a value or a reason"):
        Metric(None, 0, None, "share")
    with pytest.raises(ValueError, match="finite"):
        Metric(math.inf, 1, None, "PSNR")
