/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`services/notification/test/openapi.test.ts > TAP > publishes this document > must match snapshot 1`] = `
{
  "openapi": "3.1.0",
  "info": {
    "title": "Notifications",
    "description": "The inbox of each person, and the same live.",
    "version": "1"
  },
  "components": {
    "securitySchemes": {
      "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token (RFC 9068) whose audience is this service; each operation names the scope it needs."
      }
    },
    "schemas": {}
  },
  "paths": {
    "/api/notifications": {
      "get": {
        "operationId": "listNotifications",
        "summary": "The reader’s inbox, newest first",
        "tags": [
          "inbox"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "pattern": "^[1-9][0-9]{0,15}$"
            },
            "in": "query",
            "name": "after",
            "required": false,
            "description": "\`next\` of the page before"
          },
          {
            "schema": {
              "type": "integer",
              "minimum": 1,
              "maximum": 100,
              "default": 50
            },
            "in": "query",
            "name": "limit",
            "required": false
          },
          {
            "schema": {
              "type": "boolean"
            },
            "in": "query",
            "name": "unread",
            "required": false,
            "description": "only what is not read yet"
          }
        ],
        "security": [
          {
            "bearer": [
              "notification-api"
            ]
          }
        ],
        "responses": {
          "200": {
            "description": "One page; the last one has no \`next\`.",
            "content": {
              "application/json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "items"
                  ],
                  "properties": {
                    "items": {
                      "type": "array",
                      "items": {
                        "type": "object",
                        "required": [
                          "id",
                          "seq",
                          "category",
                          "title",
                          "text",
                          "at",
                          "data"
                        ],
                        "properties": {
                          "id": {
                            "type": "string",
                            "format": "uuid"
                          },
                          "seq": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "position in the reader’s own stream"
                          },
                          "category": {
                            "enum": [
                              "payment",
                              "welcome"
                            ]
                          },
                          "title": {
                            "type": "string"
                          },
                          "text": {
                            "type": "string"
                          },
                          "at": {
                            "type": "string",
                            "format": "date-time"
                          },
                          "readAt": {
                            "type": "string",
                            "format": "date-time"
                          },
                          "data": {
                            "type": "object",
                            "properties": {
                              "paymentId": {
                                "type": "string",
                                "format": "uuid"
                              },
                              "accountId": {
                                "type": "string",
                                "format": "uuid"
                              },
                              "amount": {
                                "type": "object",
                                "required": [
                                  "amount",
                                  "currency"
                                ],
                                "properties": {
                                  "amount": {
                                    "type": "string",
                                    "pattern": "^(0|[1-9][0-9]{0,17})$",
                                    "description": "minor units, e.g. \\"1250\\" is 12.50 EUR"
                                  },
                                  "currency": {
                                    "enum": [
                                      "EUR",
                                      "USD",
                                      "GBP",
                                      "CHF",
                                      "JPY",
                                      "KWD"
                                    ],
                                    "description": "ISO 4217 code"
                                  }
                                },
                                "additionalProperties": false,
                                "title": "Money"
                              }
                            },
                            "additionalProperties": false
                          }
                        },
                        "additionalProperties": false,
                        "title": "Notification"
                      }
                    },
                    "next": {
                      "type": "string",
                      "description": "\`after\` of the next page"
                    }
                  },
                  "description": "One page; the last one has no \`next\`."
                }
              }
            }
          },
          "4XX": {
            "description": "Refused; the problem says why.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          },
          "5XX": {
            "description": "Not now; a read, or a write with an Idempotency-Key, may be repeated.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          }
        }
      }
    },
    "/api/notifications/count": {
      "get": {
        "operationId": "countNotifications",
        "summary": "How many notifications are unread",
        "tags": [
          "inbox"
        ],
        "security": [
          {
            "bearer": [
              "notification-api"
            ]
          }
        ],
        "responses": {
          "200": {
            "description": "Default Response",
            "content": {
              "application/json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "unread"
                  ],
                  "properties": {
                    "unread": {
                      "type": "integer",
                      "minimum": 0
                    }
                  }
                }
              }
            }
          },
          "4XX": {
            "description": "Refused; the problem says why.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          },
          "5XX": {
            "description": "Not now; a read, or a write with an Idempotency-Key, may be repeated.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          }
        }
      }
    },
    "/api/notifications/{id}/read": {
      "post": {
        "operationId": "readNotification",
        "summary": "Marks one as read; again changes nothing",
        "tags": [
          "inbox"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "format": "uuid"
            },
            "in": "path",
            "name": "id",
            "required": true
          }
        ],
        "security": [
          {
            "bearer": [
              "notification-api"
            ]
          }
        ],
        "responses": {
          "204": {
            "description": "It is read."
          },
          "4XX": {
            "description": "Refused; the problem says why.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          },
          "5XX": {
            "description": "Not now; a read, or a write with an Idempotency-Key, may be repeated.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          }
        }
      }
    },
    "/api/notifications/read-all": {
      "post": {
        "operationId": "readAllNotifications",
        "summary": "Marks all up to one as read; what arrived later stays unread",
        "tags": [
          "inbox"
        ],
        "requestBody": {
          "required": true,
          "content": {
            "application/json": {
              "schema": {
                "type": "object",
                "required": [
                  "upTo"
                ],
                "properties": {
                  "upTo": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 9007199254740991
                  }
                },
                "additionalProperties": false
              }
            }
          }
        },
        "security": [
          {
            "bearer": [
              "notification-api"
            ]
          }
        ],
        "responses": {
          "204": {
            "description": "They are read."
          },
          "4XX": {
            "description": "Refused; the problem says why.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          },
          "5XX": {
            "description": "Not now; a read, or a write with an Idempotency-Key, may be repeated.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          }
        }
      }
    },
    "/api/notifications/stream": {
      "get": {
        "operationId": "streamNotifications",
        "summary": "The inbox as it grows, as server-sent events",
        "tags": [
          "inbox"
        ],
        "description": "\`notification\` (with an id: its seq), \`count\` ({unread}), and \`reconnect\` before the server ends the stream: when the token ends or the server stops. A comment every 20 s keeps it alive.",
        "parameters": [
          {
            "schema": {
              "type": "string",
              "pattern": "^(0|[1-9][0-9]{0,15})$"
            },
            "in": "header",
            "name": "last-event-id",
            "required": false,
            "description": "seq of the last notification that the reader has"
          }
        ],
        "security": [
          {
            "bearer": [
              "notification-api"
            ]
          }
        ],
        "responses": {
          "200": {
            "description": "Does not end by itself.",
            "content": {
              "text/event-stream": {
                "schema": {
                  "type": "string"
                }
              }
            }
          },
          "4XX": {
            "description": "Refused; the problem says why.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          },
          "5XX": {
            "description": "Not now; a read, or a write with an Idempotency-Key, may be repeated.",
            "content": {
              "application/problem+json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "type",
                    "title",
                    "status",
                    "code"
                  ],
                  "properties": {
                    "type": {
                      "type": "string",
                      "format": "uri"
                    },
                    "title": {
                      "type": "string"
                    },
                    "status": {
                      "type": "integer"
                    },
                    "code": {
                      "type": "string",
                      "description": "stable; docs/problems.md says what to do"
                    },
                    "detail": {
                      "type": "string"
                    },
                    "instance": {
                      "type": "string",
                      "description": "urn:request: and the request id"
                    }
                  },
                  "additionalProperties": true,
                  "title": "Problem"
                }
              }
            }
          }
        }
      }
    }
  }
}
`
