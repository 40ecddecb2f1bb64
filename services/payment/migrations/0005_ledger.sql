/*
 * The ledger: accounts, amounts, holds and keys, nothing else. Everything follows from rows of the journal: whoever inserts
 * into it, the trigger below carries accounts, holds, ids and the writer's row forward from what is there, or refuses the
 * whole statement. Nothing else may change them, the owner included. docs/ledger.md draws it.
 */
CREATE SCHEMA ledger;
--> statement-breakpoint
CREATE TYPE ledger.kind AS ENUM (
  'transfer', 'hold', 'settle', 'void', 'expire', 'reverse', 'freeze', 'unfreeze', 'close');
--> statement-breakpoint
CREATE TYPE ledger.decline AS ENUM ('insufficient_funds', 'account_frozen');
--> statement-breakpoint
CREATE TYPE ledger.status AS ENUM ('active', 'frozen', 'closed');
--> statement-breakpoint

-- Who an account is, and the cache of its newest entry. Half-empty pages let a balance change in place (HOT).
CREATE TABLE ledger.account (
  id uuid PRIMARY KEY,
  opened_at timestamptz NOT NULL DEFAULT now(),
  -- What balance - held never falls below; null for the bank's own accounts, which may owe any amount.
  floor bigint,
  currency currency_code NOT NULL,
  status ledger.status NOT NULL DEFAULT 'active',
  -- Grows by one with every row that names the account; entries only when its balance changes.
  version bigint NOT NULL DEFAULT 0,
  entries bigint NOT NULL DEFAULT 0,
  balance bigint NOT NULL DEFAULT 0,
  held bigint NOT NULL DEFAULT 0,
  CONSTRAINT account_funds CHECK (balance - held >= floor),
  CONSTRAINT account_held CHECK (held >= 0),
  CONSTRAINT account_unlimited CHECK (floor IS NOT NULL OR status = 'active'),
  CONSTRAINT account_closed CHECK (status <> 'closed' OR (balance = 0 AND held = 0)),
  CONSTRAINT account_born_empty CHECK (version > 0 OR (entries = 0 AND balance = 0 AND held = 0 AND status = 'active'))
) WITH (fillfactor = 50);
--> statement-breakpoint

-- One row for what one transfer did, or why it was declined. The state of each side after it stands in the row: version,
-- entries, balance, held. creditor_version is null when no money moved.
CREATE TABLE ledger.journal (
  -- Later than every row before it, so that it is the row's place in the journal, too.
  at timestamptz NOT NULL,
  -- Counts the statements that wrote the journal, and the writers that took it over, without a gap.
  batch bigint NOT NULL,
  amount bigint NOT NULL,
  -- By how much what is held in the debtor's account grew.
  reserved bigint NOT NULL DEFAULT 0,
  debtor_version bigint NOT NULL,
  debtor_entries bigint NOT NULL,
  debtor_balance bigint NOT NULL,
  debtor_held bigint NOT NULL,
  creditor_version bigint,
  creditor_entries bigint,
  creditor_balance bigint,
  creditor_held bigint,
  kind ledger.kind NOT NULL,
  declined ledger.decline,
  expires_at timestamptz,
  id uuid NOT NULL,
  debtor uuid NOT NULL,
  creditor uuid,
  -- The hold that this ends, or the transfer that it reverses.
  about uuid,
  -- The first of the transfers that happened together with this one or not at all.
  group_id uuid,
  -- First half of the SHA-256 of what was asked for, so that a key is not used for something else.
  fingerprint bytea NOT NULL,
  currency currency_code NOT NULL,
  -- What the layer above keeps with the transfer; never read here.
  memo text NOT NULL DEFAULT '',
  CONSTRAINT journal_pkey PRIMARY KEY (at),
  CONSTRAINT journal_sides CHECK (debtor <> creditor),
  CONSTRAINT journal_amount CHECK (
    CASE WHEN kind IN ('freeze', 'unfreeze', 'close') THEN amount = 0 AND creditor IS NULL
      ELSE amount > 0 AND creditor IS NOT NULL END),
  CONSTRAINT journal_moved CHECK (
    (creditor_version IS NOT NULL) = (declined IS NULL AND kind IN ('transfer', 'settle', 'reverse'))
    AND num_nulls(creditor_version, creditor_entries, creditor_balance, creditor_held) IN (0, 4)),
  CONSTRAINT journal_reserved CHECK (
    CASE kind WHEN 'hold' THEN reserved = CASE WHEN declined IS NULL THEN amount ELSE 0 END
      WHEN 'settle' THEN reserved <= -amount
      WHEN 'void' THEN reserved = -amount
      WHEN 'expire' THEN reserved = -amount
      ELSE reserved = 0 END),
  CONSTRAINT journal_about CHECK ((about IS NOT NULL) = (kind IN ('settle', 'void', 'expire', 'reverse'))),
  CONSTRAINT journal_declined CHECK (declined IS NULL OR kind IN ('transfer', 'hold')),
  CONSTRAINT journal_expiry CHECK (expires_at IS NULL OR kind = 'hold'),
  CONSTRAINT journal_fingerprint CHECK (octet_length(fingerprint) = 16)
) PARTITION BY RANGE (at);
--> statement-breakpoint
-- An account's history, newest first, from a time or to a time: all by these two.
CREATE INDEX journal_debtor ON ledger.journal (debtor, at);
--> statement-breakpoint
CREATE INDEX journal_creditor ON ledger.journal (creditor, at) WHERE creditor_version IS NOT NULL;
--> statement-breakpoint

-- Where the row of an id is. Not partitioned: an id is unique for ever.
CREATE TABLE ledger.transfer (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL,
  reversed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 90);
--> statement-breakpoint

-- The holds that have not ended.
CREATE TABLE ledger.hold (
  id uuid PRIMARY KEY,
  debtor uuid NOT NULL,
  creditor uuid NOT NULL,
  amount bigint NOT NULL,
  currency currency_code NOT NULL,
  expires_at timestamptz
);
--> statement-breakpoint
CREATE INDEX hold_expires_at ON ledger.hold (expires_at);
--> statement-breakpoint
CREATE INDEX hold_debtor ON ledger.hold (debtor);
--> statement-breakpoint

-- Who writes, and how far the journal is. One row per shard; there is one shard.
CREATE TABLE ledger.writer (
  shard smallint PRIMARY KEY DEFAULT 1,
  batch bigint NOT NULL DEFAULT 0,
  last timestamptz NOT NULL DEFAULT '-infinity',
  -- How often the writer has changed.
  epoch bigint NOT NULL DEFAULT 0,
  -- Where the writer is asked, and until when nobody else tries to be it. Correctness does not depend on these.
  holder text,
  until timestamptz NOT NULL DEFAULT '-infinity',
  CONSTRAINT writer_shard CHECK (shard = 1)
) WITH (fillfactor = 20);
--> statement-breakpoint
INSERT INTO ledger.writer DEFAULT VALUES;
--> statement-breakpoint

CREATE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  RAISE EXCEPTION '% of %.% is refused: %', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0]
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
--> statement-breakpoint

/*
 * Takes what was inserted into the journal as links of the accounts' chains, and carries accounts, holds, ids and the
 * writer's row forward by it. The planner is told to use indexes: tables are large, batches small, and what it knows of a
 * young table is out of date.
 */
CREATE FUNCTION ledger.carry_forward() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
  v_batch bigint;
  v_first timestamptz;
  v_last timestamptz;
  v_batches boolean;
  v_ends int;
  v_holds int;
  v_reversals int;
  v_states int;
  v_touched int;
  v_carried int;
  v_found int;
BEGIN
  SELECT max(e.batch), min(e.batch) = max(e.batch), min(e.at), max(e.at),
    count(*) FILTER (WHERE e.kind = 'hold'), count(*) FILTER (WHERE e.kind IN ('settle', 'void', 'expire')),
    count(*) FILTER (WHERE e.kind = 'reverse'), count(*) FILTER (WHERE e.kind IN ('freeze', 'unfreeze', 'close'))
  INTO v_batch, v_batches, v_first, v_last, v_holds, v_ends, v_reversals, v_states FROM added e;
  IF v_batch IS NULL THEN RETURN NULL; END IF;

  -- The batch after the last one, later than it, and not ahead of the clock (which may have been set back).
  UPDATE ledger.writer w SET batch = v_batch, last = v_last
  WHERE w.shard = 1 AND w.batch = v_batch - 1 AND v_batches AND w.last < v_first
    AND v_last <= greatest(clock_timestamp(), w.last) + interval '1 minute';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'batch % does not follow the last one', v_batch
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'journal_follows';
  END IF;

  INSERT INTO ledger.transfer (id, at) SELECT e.id, e.at FROM added e;

  -- Every side: each row follows from the one before it, the first from the account as it is.
  WITH side AS (
    SELECT e.debtor AS account, e.debtor_version AS version, e.debtor_entries AS entries, e.debtor_balance AS balance,
      e.debtor_held AS held, CASE WHEN e.creditor_version IS NULL THEN 0 ELSE -e.amount END AS moved,
      CASE WHEN e.creditor_version IS NULL THEN 0 ELSE 1 END AS booked, e.reserved, e.currency
    FROM added e
    UNION ALL
    SELECT e.creditor, e.creditor_version, e.creditor_entries, e.creditor_balance, e.creditor_held, e.amount, 1, 0,
      e.currency
    FROM added e WHERE e.creditor_version IS NOT NULL
  ), link AS (
    SELECT s.*, lag(s.version) OVER chain IS NULL AS is_first, lead(s.version) OVER chain IS NULL AS is_last,
      coalesce(lag(s.version) OVER chain = s.version - 1 AND lag(s.entries) OVER chain = s.entries - s.booked
        AND lag(s.balance) OVER chain = s.balance - s.moved AND lag(s.held) OVER chain = s.held - s.reserved,
        lag(s.version) OVER chain IS NULL) AS follows
    FROM side s WINDOW chain AS (PARTITION BY s.account ORDER BY s.version)
  ), head AS (
    SELECT l.account, bool_and(l.follows) AS follows, min(l.balance - l.held) AS lowest,
      min(l.currency) AS currency, min(l.currency) = max(l.currency) AS one_currency,
      min(l.version) - 1 AS old_version, max(l.version) AS version,
      min(l.entries - l.booked) FILTER (WHERE l.is_first) AS old_entries, max(l.entries) FILTER (WHERE l.is_last) AS entries,
      min(l.balance - l.moved) FILTER (WHERE l.is_first) AS old_balance, max(l.balance) FILTER (WHERE l.is_last) AS balance,
      min(l.held - l.reserved) FILTER (WHERE l.is_first) AS old_held, max(l.held) FILTER (WHERE l.is_last) AS held
    FROM link l GROUP BY l.account
  ), carried AS (
    UPDATE ledger.account a SET version = h.version, entries = h.entries, balance = h.balance, held = h.held
    FROM head h
    WHERE a.id = h.account AND h.follows AND h.one_currency AND a.currency = h.currency AND a.version = h.old_version
      AND a.entries = h.old_entries AND a.balance = h.old_balance AND a.held = h.old_held AND a.status <> 'closed'
      AND (a.floor IS NULL OR h.lowest >= a.floor)
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM head), (SELECT count(*) FROM carried) INTO v_touched, v_carried;
  IF v_touched <> v_carried THEN
    RAISE EXCEPTION 'an entry does not follow from its account: % of % do', v_carried, v_touched
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'entry_follows';
  END IF;

  IF v_states > 0 THEN
    UPDATE ledger.account a SET status = CASE s.kind
      WHEN 'freeze' THEN 'frozen' WHEN 'unfreeze' THEN 'active' ELSE 'closed' END::ledger.status
    FROM (SELECT DISTINCT ON (e.debtor) e.debtor, e.kind FROM added e WHERE e.kind IN ('freeze', 'unfreeze', 'close')
      ORDER BY e.debtor, e.at DESC) s
    WHERE a.id = s.debtor;
  END IF;
  IF v_holds > 0 THEN
    INSERT INTO ledger.hold (id, debtor, creditor, amount, currency, expires_at)
    SELECT e.id, e.debtor, e.creditor, e.amount, e.currency, e.expires_at
    FROM added e WHERE e.kind = 'hold' AND e.declined IS NULL;
  END IF;
  IF v_ends > 0 THEN
    DELETE FROM ledger.hold h USING added e
    WHERE h.id = e.about AND e.kind IN ('settle', 'void', 'expire') AND h.debtor = e.debtor AND h.creditor = e.creditor
      AND h.currency = e.currency AND h.amount = -e.reserved
      AND (e.kind <> 'expire' OR h.expires_at <= clock_timestamp());
    GET DIAGNOSTICS v_found = ROW_COUNT;
    IF v_found <> v_ends THEN
      RAISE EXCEPTION '% of % holds to end are there', v_found, v_ends
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'hold_ends_once';
    END IF;
  END IF;
  IF v_reversals > 0 THEN
    UPDATE ledger.transfer t SET reversed = true
    FROM added e, ledger.journal o
    WHERE e.kind = 'reverse' AND t.id = e.about AND NOT t.reversed AND o.at = t.at AND o.creditor_version IS NOT NULL
      AND o.kind <> 'reverse' AND o.debtor = e.creditor AND o.creditor = e.debtor AND o.amount = e.amount
      AND o.currency = e.currency;
    GET DIAGNOSTICS v_found = ROW_COUNT;
    IF v_found <> v_reversals THEN
      RAISE EXCEPTION '% of % transfers to reverse are there', v_found, v_reversals
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'transfer_reversed_once';
    END IF;
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER carry_forward AFTER INSERT ON ledger.journal REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.carry_forward();
--> statement-breakpoint
CREATE TRIGGER journal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.journal
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse('the journal only grows');
--> statement-breakpoint

-- These tables follow from the journal: only its trigger changes them. At depth 0 somebody else asks.
CREATE TRIGGER account_follows BEFORE UPDATE ON ledger.account FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION ledger.refuse('an account follows from its entries');
--> statement-breakpoint
CREATE TRIGGER account_starts_at_nothing BEFORE INSERT ON ledger.account FOR EACH ROW WHEN (NEW.version <> 0)
  EXECUTE FUNCTION ledger.refuse('an account is opened without a history');
--> statement-breakpoint
CREATE TRIGGER account_stays BEFORE DELETE OR TRUNCATE ON ledger.account
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse('an account is closed, never removed');
--> statement-breakpoint
CREATE TRIGGER hold_follows BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.hold
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger.refuse('a hold follows from the journal');
--> statement-breakpoint
CREATE TRIGGER transfer_follows BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.transfer
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger.refuse('an id follows from the journal');
--> statement-breakpoint
-- Whoever takes over counts as a batch: what the writer before still sends does not follow any more.
CREATE TRIGGER writer_goes_forward BEFORE UPDATE ON ledger.writer FOR EACH ROW
  WHEN (NEW.shard <> OLD.shard OR NEW.last < OLD.last OR NEW.batch NOT IN (OLD.batch, OLD.batch + 1)
    OR NEW.epoch NOT IN (OLD.epoch, OLD.epoch + 1) OR (NEW.epoch > OLD.epoch AND NEW.batch = OLD.batch)
    OR (pg_trigger_depth() = 0 AND NEW.last <> OLD.last))
  EXECUTE FUNCTION ledger.refuse('batches and epochs count up, time goes forward');
--> statement-breakpoint
CREATE TRIGGER writer_stays BEFORE INSERT OR DELETE OR TRUNCATE ON ledger.writer
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse('a shard has one row');
--> statement-breakpoint

/*
 * Sees to it that the journal has a partition for each month until so many from now. An old month is detached once it
 * is not asked for any more: the rows after it and the accounts carry its balances.
 */
CREATE FUNCTION ledger.prepare_months(ahead int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  v_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  v_end timestamp := v_month + make_interval(months => ahead);
  v_name text;
  v_from text;
BEGIN
  -- One at a time.
  PERFORM pg_advisory_xact_lock(7203114004);
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = 'ledger.journal'::regclass) THEN
    v_from := 'MINVALUE';
  END IF;
  WHILE v_month <= v_end LOOP
    v_name := 'journal_' || to_char(v_month, 'YYYY_MM');
    IF to_regclass('ledger.' || v_name) IS NULL THEN
      EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.journal INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name);
      -- Attached, not created as a partition: that would wait for, and hold up, everybody who reads the journal.
      EXECUTE format('ALTER TABLE ledger.journal ATTACH PARTITION ledger.%I FOR VALUES FROM (%s) TO (%L)',
        v_name, coalesce(v_from, quote_literal(v_month || '+00')), v_month + interval '1 month' || '+00');
      -- The journal's own triggers do not see what goes to a partition by its name.
      EXECUTE format('CREATE TRIGGER journal_by_its_name BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse(''write to ledger.journal'')', v_name);
    END IF;
    v_from := NULL;
    v_month := v_month + interval '1 month';
  END LOOP;
END $$;
--> statement-breakpoint
SELECT ledger.prepare_months(12);
--> statement-breakpoint

-- The two sides of what was booked. An account's postings count 1, 2, 3 … by seq.
CREATE VIEW ledger.posting AS
  SELECT debtor AS account, debtor_entries AS seq, id, at, -amount AS amount, debtor_balance AS balance, currency, kind,
    creditor AS other, memo
  FROM ledger.journal WHERE creditor_version IS NOT NULL
  UNION ALL
  SELECT creditor, creditor_entries, id, at, amount, creditor_balance, currency, kind, debtor, memo
  FROM ledger.journal WHERE creditor_version IS NOT NULL;
--> statement-breakpoint

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
--> statement-breakpoint
GRANT USAGE ON SCHEMA ledger TO payment;
--> statement-breakpoint
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO payment;
--> statement-breakpoint
GRANT INSERT ON ledger.journal TO payment;
--> statement-breakpoint
GRANT INSERT (id, floor, currency) ON ledger.account TO payment;
--> statement-breakpoint
GRANT UPDATE (batch, epoch, holder, until) ON ledger.writer TO payment;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION ledger.prepare_months TO payment;
