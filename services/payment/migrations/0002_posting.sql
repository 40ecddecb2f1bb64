-- The one way money moves. The app's role reads; it writes only through the functions granted at the end.

-- Half-empty pages let PostgreSQL update a balance in place (HOT), without touching an index.
ALTER TABLE account SET (fillfactor = 50);
--> statement-breakpoint
-- Costs next to nothing at insert and serves the one query that forgets old keys.
CREATE INDEX idempotency_key_created_at ON idempotency_key USING brin (created_at);
--> statement-breakpoint

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
--> statement-breakpoint
CREATE TRIGGER transfer_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the ledger only grows');
--> statement-breakpoint
CREATE TRIGGER posting_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON posting
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the ledger only grows');
--> statement-breakpoint
CREATE TRIGGER account_stays BEFORE DELETE OR TRUNCATE ON account
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('an account with history stays');
--> statement-breakpoint
CREATE TRIGGER account_identity BEFORE UPDATE OF id, kind, iban, currency, owner_id ON account
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what identifies an account never changes');
--> statement-breakpoint
CREATE TRIGGER payment_stays BEFORE DELETE OR TRUNCATE ON payment
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a payment is kept');
--> statement-breakpoint
CREATE TRIGGER payment_order BEFORE UPDATE OF id, debtor_id, creditor_id, amount, currency, answer, answer_status ON payment
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what was ordered and answered never changes');
--> statement-breakpoint

CREATE TRIGGER account_posted BEFORE UPDATE ON account FOR EACH ROW
  WHEN (OLD.posted <> NEW.posted AND OLD.entries >= NEW.entries)
  EXECUTE FUNCTION refuse_change('a balance follows from postings');
--> statement-breakpoint

-- Double entry, per statement instead of per row: the two sides of a transfer come in one statement and sum to zero in
-- it, so they do for ever; both accounts have the transfer's one currency. The postings of a customer's account are a
-- chain without a gap that ends at its balance.
-- Names are qualified instead of a SET clause, which would cost more than the check.
CREATE FUNCTION check_postings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM added GROUP BY transfer_id HAVING sum(amount) <> 0;
  IF FOUND THEN
    RAISE EXCEPTION 'the postings of a transfer do not sum to zero'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balanced';
  END IF;
  PERFORM FROM added p
    LEFT JOIN public.account a ON a.id = p.account_id
    LEFT JOIN public.transfer t ON t.id = p.transfer_id
    LEFT JOIN public.posting b ON b.account_id = p.account_id AND b.seq = p.seq - 1
    WHERE (a.currency = t.currency
      AND p.amount = CASE p.account_id WHEN t.creditor_id THEN t.amount WHEN t.debtor_id THEN -t.amount END
      AND CASE WHEN a.kind = 'system' THEN p.seq IS NULL
        ELSE p.seq = coalesce(b.seq, 0) + 1 AND p.balance_after = coalesce(b.balance_after, 0) + p.amount
          AND (p.seq < a.entries OR (p.seq = a.entries AND p.balance_after = a.posted)) END) IS NOT TRUE;
  IF FOUND THEN
    RAISE EXCEPTION 'a posting does not fit its transfer, its account or the posting before'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_fits';
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER posting_check AFTER INSERT ON posting REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION check_postings();
--> statement-breakpoint

CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('outbox', '');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();
--> statement-breakpoint

CREATE FUNCTION mask_iban(iban text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN left(iban, 4) || ' •••• ' || right(iban, 4);
--> statement-breakpoint
CREATE FUNCTION iso_instant(at timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
--> statement-breakpoint

/*
 * Decides and books a batch of orders in one transaction; one result row per item, in the order of arrival.
 *
 * All arrays have one element per item. kind 'payment' is an order of a customer; 'opening' and 'external' are the
 * bank's own bookings, which alone may touch system accounts. posted_at dates history (no events then). Only the owner
 * may pass another kind than 'payment', or a date.
 * Locks are taken in one order by everybody: idempotency keys by value, then customer accounts by id.
 *
 * outcome: posted | held | insufficient_funds | account_frozen (booked, with the answer to send and to repeat),
 * replay (the stored answer), or a problem code that left no trace.
 */
CREATE FUNCTION post_payments(
  route text, kind text, posted_at timestamptz, decline_heads text[],
  payment_ids uuid[], transfer_ids uuid[], event_ids uuid[],
  subjects text[], keys text[], fingerprints bytea[],
  debtor_ids uuid[], creditor_ids uuid[], creditor_ibans text[], creditor_names text[],
  amounts bigint[], currencies text[], refs text[], hold_reasons text[],
  traceparents text[], correlation_ids text[])
RETURNS TABLE (item int, outcome text, answer_status smallint, answer text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '2s'
-- Batches are small and tables are large: index lookups, planned once.
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
  v_route CONSTANT text := post_payments.route;
  v_kind CONSTANT text := post_payments.kind;
  v_at timestamptz;
  v_time text;
  -- Per item.
  v_outcomes text[];
  v_creditors uuid[];
  v_debtor_ibans text[];
  v_creditor_ibans text[];
  v_creditor_owners text[];
  v_seq bigint[];
  v_debtor_seq bigint[];
  v_debtor_balance bigint[];
  v_creditor_seq bigint[];
  v_creditor_balance bigint[];
  -- The items to book, by position.
  v_fresh int[];
  v_stored int;
  -- Locked customer accounts, in id order.
  v_ids uuid[];
  v_posted bigint[];
  v_held bigint[];
  v_floor bigint[];
  v_version bigint[];
  v_entries bigint[];
  v_frozen boolean[];
  n int;
  d int;
  c int;
  v_amount bigint;
BEGIN
  IF (v_kind IS DISTINCT FROM 'payment' OR posted_at IS NOT NULL) AND NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
    RAISE EXCEPTION 'only the owner books history and other kinds' USING ERRCODE = 'insufficient_privilege';
  END IF;

  SELECT array_agg(s.outcome), array_agg(s.creditor_id), array_agg(s.debtor_iban), array_agg(s.creditor_iban),
    array_agg(s.creditor_owner)
  INTO v_outcomes, v_creditors, v_debtor_ibans, v_creditor_ibans, v_creditor_owners
  FROM (
    SELECT c.id AS creditor_id, d.iban AS debtor_iban, c.iban AS creditor_iban, c.owner_id AS creditor_owner,
      CASE
        WHEN d.id IS NULL OR (v_kind = 'payment' AND d.owner_id IS DISTINCT FROM subjects[n]) THEN 'not_found'
        WHEN c.id IS NULL OR (v_kind = 'payment' AND c.kind = 'system') THEN 'creditor_unknown'
        WHEN c.id = d.id THEN 'same_account'
        WHEN currencies[n] <> d.currency OR currencies[n] <> c.currency THEN 'currency_mismatch'
      END AS outcome
    FROM (SELECT o::int AS n FROM unnest(payment_ids) WITH ORDINALITY AS u(id, o)) items
    LEFT JOIN account d ON d.id = debtor_ids[n]
    -- One of the two is null and finds nothing.
    LEFT JOIN account i ON i.id = creditor_ids[n]
    LEFT JOIN account j ON j.iban = creditor_ibans[n]
    CROSS JOIN LATERAL (SELECT coalesce(i.id, j.id) AS id, coalesce(i.iban, j.iban) AS iban,
      coalesce(i.kind, j.kind) AS kind, coalesce(i.owner_id, j.owner_id) AS owner_id,
      coalesce(i.currency, j.currency) AS currency) c
    ORDER BY n
  ) s;
  v_fresh := array_positions(v_outcomes, NULL);

  -- The key comes first: a twin in another transaction waits here until this one has committed.
  INSERT INTO idempotency_key (subject, route, key, fingerprint, payment_id, created_at)
  SELECT subjects[n], v_route, keys[n], fingerprints[n], payment_ids[n], now()
  FROM unnest(v_fresh) AS n ORDER BY subjects[n], keys[n]
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS v_stored = ROW_COUNT;
  -- What was not stored is a repetition, even of an order earlier in this batch.
  IF v_stored < cardinality(v_fresh) THEN
    SELECT array_agg(CASE
        WHEN v_outcomes[n] IS NOT NULL THEN v_outcomes[n]
        WHEN k.payment_id = payment_ids[n] THEN NULL
        WHEN k.fingerprint = fingerprints[n] THEN 'replay'
        ELSE 'key_reused'
      END ORDER BY n)
    INTO v_outcomes
    FROM (SELECT o::int AS n FROM unnest(payment_ids) WITH ORDINALITY AS u(id, o)) items
    LEFT JOIN idempotency_key k ON k.subject = subjects[n] AND k.route = v_route AND k.key = keys[n];
    v_fresh := array_positions(v_outcomes, NULL);
  END IF;

  IF cardinality(v_fresh) > 0 THEN
    SELECT array_agg(a.id), array_agg(a.posted), array_agg(a.held), array_agg(a.floor), array_agg(a.version),
      array_agg(a.entries), array_agg(a.status = 'frozen')
    INTO v_ids, v_posted, v_held, v_floor, v_version, v_entries, v_frozen
    FROM (
      SELECT * FROM account
      WHERE id = ANY (ARRAY(
          SELECT unnest(ARRAY[debtor_ids[n], v_creditors[n]]) FROM unnest(v_fresh) AS n))
        AND kind <> 'system'
      ORDER BY id FOR NO KEY UPDATE
    ) a;
    -- After the locks, so that an account's postings are in the order of their time.
    v_at := date_trunc('milliseconds', coalesce(posted_at, clock_timestamp()));
    v_time := iso_instant(v_at);

    FOREACH n IN ARRAY v_fresh LOOP
      -- Binary search.
      d := width_bucket(debtor_ids[n], v_ids);
      c := width_bucket(v_creditors[n], v_ids);
      IF v_kind <> 'payment' THEN
        -- System accounts are not among the locked ones.
        d := CASE WHEN v_ids[d] = debtor_ids[n] THEN d END;
        c := CASE WHEN v_ids[c] = v_creditors[n] THEN c END;
      END IF;
      v_amount := amounts[n];
      IF d IS NOT NULL THEN
        v_version[d] := v_version[d] + 1;
        v_seq[n] := v_version[d];
        IF v_frozen[d] THEN
          v_outcomes[n] := 'account_frozen';
          CONTINUE;
        ELSIF v_posted[d] - v_held[d] - v_amount < v_floor[d] THEN
          v_outcomes[n] := 'insufficient_funds';
          CONTINUE;
        ELSIF hold_reasons[n] IS NOT NULL THEN
          v_outcomes[n] := 'held';
          v_held[d] := v_held[d] + v_amount;
          CONTINUE;
        END IF;
        v_posted[d] := v_posted[d] - v_amount;
        v_entries[d] := v_entries[d] + 1;
        v_debtor_seq[n] := v_entries[d];
        v_debtor_balance[n] := v_posted[d];
      END IF;
      IF c IS NOT NULL THEN
        v_version[c] := v_version[c] + 1;
        v_posted[c] := v_posted[c] + v_amount;
        v_entries[c] := v_entries[c] + 1;
        v_creditor_seq[n] := v_entries[c];
        v_creditor_balance[n] := v_posted[c];
      END IF;
      v_outcomes[n] := 'posted';
    END LOOP;

    RETURN QUERY
    WITH booked AS MATERIALIZED (
      SELECT n, v_outcomes[n] AS outcome, payment_ids[n] AS payment_id, transfer_ids[n] AS transfer_id,
        debtor_ids[n] AS debtor_id, v_creditors[n] AS creditor_id, amounts[n] AS amount, currencies[n] AS currency,
        CASE v_outcomes[n] WHEN 'posted' THEN 201 WHEN 'held' THEN 202 ELSE 409 END::smallint AS answer_status,
        CASE WHEN v_kind <> 'payment' THEN NULL
          WHEN v_outcomes[n] IN ('posted', 'held') THEN format(
            '{"id":"%s","state":"%s","debtorAccountId":"%s","creditor":{"name":%s,"ibanMasked":"%s •••• %s"},'
            '"amount":{"amount":"%s","currency":"%s"},"reference":%s,"createdAt":"%s",%s}',
            payment_ids[n], v_outcomes[n], debtor_ids[n], to_json(creditor_names[n]),
            left(v_creditor_ibans[n], 4), right(v_creditor_ibans[n], 4), amounts[n], currencies[n], to_json(refs[n]), v_time,
            CASE v_outcomes[n] WHEN 'held' THEN '"reasons":' || to_json(hold_reasons[n]::text[])
              ELSE '"transferId":"' || transfer_ids[n] || '"' END)
          ELSE format('%s,"paymentId":"%s"}',
            decline_heads[CASE v_outcomes[n] WHEN 'insufficient_funds' THEN 1 ELSE 2 END], payment_ids[n])
        END AS answer
      FROM unnest(v_fresh) AS n
    ), new_transfers AS (
      INSERT INTO transfer (id, kind, payment_id, debtor_id, creditor_id, amount, currency, counterparty, reference, at)
      SELECT b.transfer_id, CASE b.outcome WHEN 'held' THEN 'hold' ELSE v_kind END,
        CASE v_kind WHEN 'payment' THEN b.payment_id END, b.debtor_id, b.creditor_id, b.amount, b.currency,
        CASE WHEN v_kind <> 'payment' THEN creditor_names[b.n] END, CASE WHEN v_kind <> 'payment' THEN refs[b.n] END, v_at
      FROM booked b WHERE b.outcome IN ('posted', 'held')
    ), new_postings AS (
      INSERT INTO posting (transfer_id, account_id, amount, seq, balance_after, at)
      SELECT b.transfer_id, b.debtor_id, -b.amount, v_debtor_seq[b.n], v_debtor_balance[b.n], v_at
      FROM booked b WHERE b.outcome = 'posted'
      UNION ALL
      SELECT b.transfer_id, b.creditor_id, b.amount, v_creditor_seq[b.n], v_creditor_balance[b.n], v_at
      FROM booked b WHERE b.outcome = 'posted'
    ), new_balances AS (
      UPDATE account a SET posted = v_posted[x], held = v_held[x], version = v_version[x], entries = v_entries[x]
      FROM unnest(v_ids) WITH ORDINALITY AS s(id, x) WHERE a.id = s.id
    ), new_payments AS (
      INSERT INTO payment (id, debtor_id, creditor_id, creditor_name, amount, currency, reference, state, reasons,
        transfer_id, created_at, answer_status, answer)
      SELECT b.payment_id, b.debtor_id, b.creditor_id, creditor_names[b.n], b.amount, b.currency, refs[b.n],
        CASE WHEN b.outcome IN ('posted', 'held') THEN b.outcome ELSE 'declined' END,
        CASE b.outcome WHEN 'posted' THEN NULL WHEN 'held' THEN hold_reasons[b.n]::text[] ELSE ARRAY[b.outcome] END,
        CASE WHEN b.outcome IN ('posted', 'held') THEN b.transfer_id END, v_at, b.answer_status, b.answer
      FROM booked b WHERE v_kind = 'payment'
    ), new_events AS (
      INSERT INTO outbox (id, topic, key, event)
      SELECT event_ids[b.n], 'banking.payment', b.debtor_id,
        format(
          '{"specversion":"1.0","id":"%s","source":"/payment","type":"payment.%s","subject":"%s","time":"%s","seq":%s,'
          '"datacontenttype":"application/json","traceparent":%s,"correlationid":%s,'
          '"data":{"paymentId":"%s","amount":{"amount":"%s","currency":"%s"},'
          '"debtor":{"accountId":"%s","ownerId":%s,"ibanLast4":"%s"},'
          '"creditor":{"accountId":"%s","ownerId":%s,"ibanLast4":"%s"},"reference":%s,%s}}',
          event_ids[b.n], CASE WHEN b.answer_status < 400 THEN b.outcome ELSE 'declined' END, b.debtor_id, v_time,
          v_seq[b.n], to_json(traceparents[b.n]), to_json(correlation_ids[b.n]),
          b.payment_id, b.amount, b.currency,
          b.debtor_id, to_json(subjects[b.n]), right(v_debtor_ibans[b.n], 4),
          b.creditor_id, to_json(v_creditor_owners[b.n]), right(v_creditor_ibans[b.n], 4), to_json(refs[b.n]),
          CASE b.outcome WHEN 'posted' THEN '"transferId":"' || b.transfer_id || '"'
            WHEN 'held' THEN '"reasons":' || to_json(hold_reasons[b.n]::text[])
            ELSE '"code":"' || b.outcome || '"' END)::jsonb
      FROM booked b WHERE v_kind = 'payment' AND posted_at IS NULL ORDER BY b.n
    )
    SELECT b.n, b.outcome, b.answer_status, b.answer FROM booked b;
  END IF;

  IF cardinality(v_fresh) < cardinality(v_outcomes) THEN
    RETURN QUERY
    SELECT n, v_outcomes[n], p.answer_status, p.answer
    FROM (SELECT o::int AS n FROM unnest(payment_ids) WITH ORDINALITY AS u(id, o)) items
    LEFT JOIN idempotency_key k
      ON v_outcomes[n] = 'replay' AND k.subject = subjects[n] AND k.route = v_route AND k.key = keys[n]
    LEFT JOIN payment p ON p.id = k.payment_id
    WHERE n <> ALL (v_fresh);
  END IF;
END $$;
--> statement-breakpoint

-- The world outside: what comes into the bank or leaves it passes here. Never locked, never out of funds.
INSERT INTO account (id, holder, name, kind, iban, currency)
VALUES ('00000000-0000-7000-8000-000000000001', 'Other banks', 'Settlement EUR', 'system', 'DE90999777000000000001', 'EUR');
--> statement-breakpoint

-- Gives a held payment's money back to the account. outcome: cancelled | already_resolved | not_found.
-- The payment is locked before the account; post_payments never locks a payment, so the two cannot deadlock.
CREATE FUNCTION cancel_payment(
  payment_id uuid, subject text, transfer_id uuid, event_id uuid, traceparent text, correlation_id text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
  p payment;
  d account;
  c account;
  v_at timestamptz;
BEGIN
  SELECT y.* INTO p FROM payment y JOIN account a ON a.id = y.debtor_id
    WHERE y.id = cancel_payment.payment_id AND a.owner_id = cancel_payment.subject FOR UPDATE OF y;
  IF NOT FOUND THEN RETURN 'not_found'; END IF;
  IF p.state <> 'held' THEN RETURN 'already_resolved'; END IF;
  SELECT * INTO STRICT d FROM account WHERE id = p.debtor_id FOR NO KEY UPDATE;
  SELECT * INTO STRICT c FROM account WHERE id = p.creditor_id;
  v_at := date_trunc('milliseconds', clock_timestamp());

  INSERT INTO transfer (id, kind, pending_id, payment_id, debtor_id, creditor_id, amount, currency, at)
  VALUES (cancel_payment.transfer_id, 'void', p.transfer_id, p.id, p.debtor_id, p.creditor_id, p.amount, p.currency, v_at);
  UPDATE account SET held = held - p.amount, version = version + 1 WHERE id = d.id;
  UPDATE payment SET state = 'cancelled' WHERE id = p.id;
  INSERT INTO outbox (id, topic, key, event) VALUES (cancel_payment.event_id, 'banking.payment', d.id, jsonb_build_object(
    'specversion', '1.0', 'id', cancel_payment.event_id, 'source', '/payment', 'subject', d.id,
    'type', 'payment.cancelled', 'time', iso_instant(v_at), 'seq', d.version + 1, 'datacontenttype', 'application/json',
    'traceparent', cancel_payment.traceparent, 'correlationid', cancel_payment.correlation_id,
    'data', jsonb_build_object(
      'paymentId', p.id, 'amount', jsonb_build_object('amount', p.amount::text, 'currency', p.currency),
      'debtor', jsonb_build_object('accountId', d.id, 'ownerId', d.owner_id, 'ibanLast4', right(d.iban, 4)),
      'creditor', jsonb_build_object('accountId', c.id, 'ownerId', c.owner_id, 'ibanLast4', right(c.iban, 4)),
      'reference', p.reference)));
  RETURN 'cancelled';
END $$;
--> statement-breakpoint

-- Keys are promised for seven days; the payments keep their answers.
CREATE FUNCTION forget_idempotency_keys() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH forgotten AS (
    DELETE FROM idempotency_key WHERE created_at < now() - interval '7 days' RETURNING 1
  ) SELECT count(*) FROM forgotten
$$;
--> statement-breakpoint

-- Functions are closed until granted, later ones too.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
--> statement-breakpoint
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION post_payments, cancel_payment, forget_idempotency_keys, mask_iban TO payment;
--> statement-breakpoint
GRANT SELECT ON account, payment, transfer, posting TO payment;
--> statement-breakpoint
-- The relay publishes and deletes; only the functions above write events.
GRANT SELECT, DELETE ON outbox TO payment;
--> statement-breakpoint
GRANT SELECT, INSERT ON inbox TO payment;
