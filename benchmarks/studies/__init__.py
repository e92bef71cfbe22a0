"""Published questions as runs of the workbench: what `workbench study NAME` carries out.

Each study is a folder: `study.toml` says the data, the scales, the steps and the claims, and the
suites and whatever else the steps need lie beside it. See `docs/studies/README.md`.
"""
