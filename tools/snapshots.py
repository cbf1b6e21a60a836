#!/usr/bin/env python3
"""Makes the table that a provider's crate serves offline: see engine/provider/src/snapshot.rs for its form.

usage: snapshots.py VMS.csv AS_OF_MS OUT.csv.zst

VMS.csv has the columns InstanceType, vCPUs, MemoryGiB, Price, SpotPrice, Region, Arch, and AvailabilityZone where the
cloud has zones. Machines with accelerators are left out: no replica can ask for one yet.
"""

import csv
import subprocess
import sys

MICRO = 1_000_000


def micro(price: str) -> str:
    return str(round(float(price) * MICRO)) if price and float(price) > 0 else ""


def line(row: dict[str, str]) -> str | None:
    plain = row["InstanceType"] and row["vCPUs"] and row["MemoryGiB"] and not row["AcceleratorName"]
    architecture = row["Arch"] or "x86_64"
    on_demand, spot = micro(row["Price"]), micro(row["SpotPrice"])
    if not plain or architecture not in ("x86_64", "arm64") or not (on_demand or spot):
        return None
    cpus, memory = round(float(row["vCPUs"]) * 1000), round(float(row["MemoryGiB"]) * 1024)
    zone = row.get("AvailabilityZone") or row["Region"]
    return f"{row['InstanceType']},{architecture},{cpus},{memory},{row['Region']},{zone},{on_demand},{spot}"


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    source, as_of_ms, out = sys.argv[1:]
    with open(source, newline="", encoding="utf-8") as rows:
        lines = sorted({text for row in csv.DictReader(rows) if (text := line(row))})
    table = "\n".join([as_of_ms, *lines, ""])
    subprocess.run(["zstd", "-q", "-19", "-f", "-o", out], input=table.encode(), check=True)


if __name__ == "__main__":
    main()
