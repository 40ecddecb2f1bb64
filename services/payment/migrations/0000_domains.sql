-- Values that know their own form.
CREATE DOMAIN iban AS text CHECK (VALUE ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$');
--> statement-breakpoint
CREATE DOMAIN currency_code AS text CHECK (VALUE ~ '^[A-Z]{3}$');
