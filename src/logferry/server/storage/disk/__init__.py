"""The store on this machine's disk: a writer thread that commits groups to segment files and a ledger.

disk_store.py puts the parts together. writer.py stores one group of deliveries after the other (group_commit.py) in
segments (segments.py) and records them in the ledger (ledger/). recovery.py runs before it, retention.py and
deferred_sync.py beside it. fsck.py, source_report.py and scrub.py compare what is stored with what the ledger says;
damage.py remembers what differs until repair.py has repaired it. A journal of each segment (journal.py,
journals.py) has what the ledger has, so that rebuild.py can make a lost ledger anew.
"""
