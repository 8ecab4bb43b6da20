"""Checks of a state dict's tensors before anything is computed with them. The file may be damaged or hostile."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import DOWNLOAD_AGAIN, WeightsError

_MAX_TENSORS = 4096
"""Far more than any network of the family has, even in its training form."""


def check_tensors(state: Mapping[str, Tensor], subject: str) -> None:
    """Raise a `WeightsError` that lists the tensors that no network can have. Messages call the state dict ``subject``."""
    subject = f"{subject} is a SPAN-family checkpoint"
    if len(state) > _MAX_TENSORS:
        _raise([f"it has {len(state):,} tensors, and no network has more than {_MAX_TENSORS:,}"], subject)
    _raise([f"{key} {fault}" for key, tensor in state.items() if (fault := _fault(key, tensor)) is not None], subject)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    claimed, stored = sum(tensor.numel() * tensor.itemsize for tensor in state.values()), sum(storages.values())
    if claimed > stored:
        _raise([f"its tensors claim {claimed:,} bytes by sharing {stored:,}, expected tensors that share nothing"], subject)


def check_stored(state: Mapping[str, Tensor], subject: str) -> int:
    """Return the number of bytes of a state dict of any network, after a check of its tensors.

    Raises:
        WeightsError: tensors are not stored in full or not finite. The message begins with ``subject``.
    """
    faults = {key: _storage_fault(tensor) or _value_fault(tensor) for key, tensor in state.items()}
    _raise([f"{key} {fault}" for key, fault in faults.items() if fault is not None], subject)
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}.values())


def check_shapes(state: Mapping[str, Tensor], network: nn.Module, subject: str) -> None:
    """Raise a `WeightsError` that lists every difference between a fused state dict and its network, and every value not finite."""
    expected = {key: tensor for key, tensor in network.state_dict().items() if key != "no_norm"}
    faults = [f"{key} is missing" for key in expected if key not in state]
    faults += [f"{key} is unexpected" for key in state if key not in expected]
    for key in (key for key in expected if key in state):
        found, wanted = tuple(state[key].shape), tuple(expected[key].shape)
        if found != wanted:
            faults.append(f"{key} has the shape {found}, expected {wanted}")
        elif (fault := _value_fault(state[key])) is not None:
            faults.append(f"{key} {fault}")
    _raise(faults, f"{subject} is a SPAN-family checkpoint")


def _fault(key: str, tensor: Tensor) -> str | None:
    if (fault := _storage_fault(tensor)) is not None:
        return fault
    if not tensor.is_floating_point():
        return f"has the type {tensor.dtype}, expected a floating-point type"
    if tensor.numel() == 0:
        return f"is empty: it has the shape {tuple(tensor.shape)}"
    if key.endswith(".weight") and tensor.ndim != 4:
        return f"has the shape {tuple(tensor.shape)}, expected four axes"
    return None


def _storage_fault(tensor: Tensor) -> str | None:
    if tensor.layout is not torch.strided or tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        return "is sparse, nested, quantised or without contents, expected a plain tensor"
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        return f"claims the shape {tuple(tensor.shape)}, for which its {tensor.untyped_storage().nbytes():,} bytes are too few"
    return None


def _value_fault(tensor: Tensor) -> str | None:
    finite = torch.isfinite(tensor)
    return None if finite.all() else f"has {int((~finite).sum())} values that are NaN or infinite"


def _raise(faults: list[str], subject: str) -> None:
    if faults:
        more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
        listed = "; ".join(fault[:300] for fault in faults[:8])  # a hostile file may have keys of any length
        raise WeightsError(f"{subject} with faulty weights: {listed}{more}. {DOWNLOAD_AGAIN}")
