-- Values that know their own form. Unlike a CHECK of the table, a domain is not asked again when another column changes.
CREATE DOMAIN iban AS text CHECK (VALUE ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$');
--> statement-breakpoint
CREATE DOMAIN currency_code AS text CHECK (VALUE ~ '^[A-Z]{3}$');
--> statement-breakpoint
CREATE DOMAIN account_kind AS text CHECK (VALUE IN ('current', 'savings', 'system'));
--> statement-breakpoint
CREATE DOMAIN account_status AS text CHECK (VALUE IN ('active', 'frozen'));
--> statement-breakpoint
CREATE DOMAIN payment_state AS text CHECK (VALUE IN ('posted', 'held', 'declined', 'cancelled'));
--> statement-breakpoint
CREATE DOMAIN transfer_kind AS text CHECK (VALUE IN ('payment', 'opening', 'external', 'hold', 'void'));
