"""Configuration as code: a YAML file is read with the place of every value, compared with the database, and applied.

document.py     YAML → nodes with line, column and path        kinds.py, records.py   what a field, an object may be
schema.py       ★ every section with its fields                rules.py               what goes together in an object
items.py        a configuration as a flat set of items         rows_*.py              items ⇄ rows
references.py   names that must exist                          plan.py                what differs
applying.py     the whole, in one transaction                  exporting.py           the way back
"""
