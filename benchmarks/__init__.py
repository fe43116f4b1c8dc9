"""Measures Tonnage against its peers, in a real memory cgroup.

``python -m benchmarks`` lists what can be measured. Each benchmark prints a table and writes it,
with the state of the machine and the versions used, to ``benchmarks/results/<name>.json``;
``python -m benchmarks report`` makes one page of them. Nothing here is imported by ``tonnage``.
"""
