"""What one call does as it is run eagerly: its MACs, and the bytes that its operators pass."""

from typing import TYPE_CHECKING

from gcbench.records import Cell

if TYPE_CHECKING:
    from gcbench.measure.counting import Subject


def traffic(subject: "Subject") -> dict[str, Cell]:
    """Count one call in the case's own mode on the meta device.

    `call_macs` are its MACs, a backward pass included where there is one, and `call_conv_macs`
    those of convolutions among them; `traffic_bytes` what its operators read and write, each taken
    by itself: what a cache spares is still in it, and what a compiler fuses too. All are empty
    where closed forms speak, and nothing is run.
    """
    if subject.by_form:
        return dict.fromkeys(("call_macs", "call_conv_macs", "traffic_bytes"))
    call = subject.call
    return {
        "call_macs": call.macs,
        "call_conv_macs": call.conv_macs,
        "traffic_bytes": call.traffic_bytes,
    }
