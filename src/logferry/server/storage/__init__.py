"""Where deliveries go: the seam between the server and a store, and the stores behind it.

store.py is the seam and deliveries.py what crosses it. disk_store.py opens the store on this machine's disk: its writer
thread (writer.py) stores one group of deliveries after the other (group_commit.py), which admission.py judges,
segments.py keeps and ledger.py records. memory_store.py is the store that tests of the server use.
"""
