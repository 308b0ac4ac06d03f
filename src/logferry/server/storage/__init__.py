"""Where deliveries go: the seam between the server and a store, and the stores behind it.

store.py is the seam and deliveries.py what crosses it. admission.py decides for every store which batches are stored.
`disk` is the store on this machine's disk; memory_store.py is the store that tests of the server use.
"""
