"""The store on this machine's disk: a writer thread that commits groups to segment files and a ledger.

disk_store.py puts the parts together. `writing` stores one group of deliveries after the other in `segments`, and
records it in the `ledger` and in `journals`. `recovery` runs before it, `retention` after each group. `integrity`
compares what is stored with what the ledger records, and repairs it. `files` knows how all of these lie on the disk.
"""
