"""What is trained on: rows of releases and local files, chosen, split and put in order. No torch here.

sources     a release, or a file of JSON lines, row by row
jsonl       files of JSON lines
filters     licenses, vendored and generated files, ranges of numbers
licenses    SPDX expressions
networks    origins that belong together: owners, fork networks
select      which rows are trained on, which are held out, which are left aside
leaks       held-out rows that are near-duplicates of training rows
repository  repository context: the files of one repository in one document
fim         fill in the middle, per document and character
mixing      which documents an epoch holds, and how often
"""
