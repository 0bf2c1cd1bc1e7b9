-- Conversations and their turns, answers kept under idempotency keys, and marks of what was deleted.

CREATE SEQUENCE gorkheavy.touches;

CREATE TABLE gorkheavy.conversations (
  user_id text NOT NULL,
  id text NOT NULL,
  -- Number of the newest turn; the next one takes the next. Its row lock puts simultaneous questions in line.
  last_sequence integer NOT NULL,
  -- Grows with every turn; orders lists without two alike.
  touched bigint NOT NULL DEFAULT nextval('gorkheavy.touches'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, id)
);
CREATE INDEX conversations_touched ON gorkheavy.conversations (user_id, touched DESC);

CREATE TABLE gorkheavy.turns (
  user_id text NOT NULL,
  conversation_id text NOT NULL,
  sequence integer NOT NULL,
  -- Id of the answer: a turn that is written twice, because nobody knew whether the first time had worked, is there once.
  id uuid NOT NULL UNIQUE,
  question text NOT NULL,
  answer text NOT NULL,
  member text NOT NULL,
  model text NOT NULL,
  asked_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, conversation_id, sequence),
  FOREIGN KEY (user_id, conversation_id) REFERENCES gorkheavy.conversations (user_id, id) ON DELETE CASCADE
);
CREATE INDEX turns_asked ON gorkheavy.turns (asked_at);

CREATE TABLE gorkheavy.asks (
  user_id text NOT NULL,
  key text NOT NULL,
  -- SHA-256 of the request: the same key with another request is a mistake of the client.
  request_hash text NOT NULL,
  state text NOT NULL CHECK (state IN ('work', 'done', 'deleted')),
  -- Who works on it, and until when that is believed without a sign of life.
  holder uuid,
  lease_until timestamptz,
  conversation_id text,
  answer_id uuid,
  -- The whole answer, byte for byte as it was sent.
  answer text,
  claimed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX asks_conversation ON gorkheavy.asks (user_id, conversation_id);
CREATE INDEX asks_claimed ON gorkheavy.asks (claimed_at);

-- What was asked before a deletion, and is written after it, must not bring the conversation back. No words are kept here.
CREATE TABLE gorkheavy.deletions (
  user_id text NOT NULL,
  -- Empty: all of the user's conversations.
  conversation_id text NOT NULL,
  deleted_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, conversation_id)
);
