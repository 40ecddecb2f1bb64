-- Generic plans without hash and merge joins still read a young table from end to end, and go on doing so while it grows.
ALTER FUNCTION post_payments SET enable_seqscan = off;
--> statement-breakpoint
-- NOTIFY takes a lock over the whole cluster at commit: a commit that waits, for a synchronous replica for instance, holds up
-- every other one that notifies. No transaction that moves money does; the service wakes its relay after the commit.
DROP TRIGGER outbox_notify ON outbox;
--> statement-breakpoint
DROP FUNCTION outbox_notify;
