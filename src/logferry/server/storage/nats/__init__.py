"""The store on NATS JetStream: a replicated log in the place of a disk; docs/cluster.md.

Any number of gateways share it and keep nothing themselves. `nats_store` is the store; the library is imported only in
`connection`, and only once a store is opened.
"""
