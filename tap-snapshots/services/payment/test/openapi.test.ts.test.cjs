/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`services/payment/test/openapi.test.ts > TAP > publishes this document > must match snapshot 1`] = `
{
  "openapi": "3.1.0",
  "info": {
    "title": "Payments",
    "description": "Accounts, the double-entry ledger behind them, and payments.",
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
    "/api/payments/accounts": {
      "get": {
        "operationId": "listAccounts",
        "summary": "Your accounts",
        "tags": [
          "accounts"
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
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
                          "name",
                          "kind",
                          "iban",
                          "currency",
                          "posted",
                          "held",
                          "available",
                          "status"
                        ],
                        "properties": {
                          "id": {
                            "type": "string",
                            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                          },
                          "name": {
                            "type": "string"
                          },
                          "kind": {
                            "enum": [
                              "current",
                              "savings"
                            ]
                          },
                          "iban": {
                            "type": "string"
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
                          },
                          "posted": {
                            "type": "object",
                            "required": [
                              "amount",
                              "currency"
                            ],
                            "properties": {
                              "amount": {
                                "type": "string",
                                "pattern": "^(0|-?[1-9][0-9]{0,17})$",
                                "description": "minor units, signed"
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
                            "title": "SignedMoney"
                          },
                          "held": {
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
                          },
                          "available": {
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
                          },
                          "status": {
                            "enum": [
                              "active",
                              "frozen"
                            ]
                          }
                        }
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
    "/api/payments/accounts/{id}": {
      "get": {
        "operationId": "getAccount",
        "summary": "One account",
        "tags": [
          "accounts"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
            },
            "in": "path",
            "name": "id",
            "required": true
          }
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
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
                    "id",
                    "name",
                    "kind",
                    "iban",
                    "currency",
                    "posted",
                    "held",
                    "available",
                    "status"
                  ],
                  "properties": {
                    "id": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "name": {
                      "type": "string"
                    },
                    "kind": {
                      "enum": [
                        "current",
                        "savings"
                      ]
                    },
                    "iban": {
                      "type": "string"
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
                    },
                    "posted": {
                      "type": "object",
                      "required": [
                        "amount",
                        "currency"
                      ],
                      "properties": {
                        "amount": {
                          "type": "string",
                          "pattern": "^(0|-?[1-9][0-9]{0,17})$",
                          "description": "minor units, signed"
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
                      "title": "SignedMoney"
                    },
                    "held": {
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
                    },
                    "available": {
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
                    },
                    "status": {
                      "enum": [
                        "active",
                        "frozen"
                      ]
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
    "/api/payments/accounts/{id}/postings": {
      "get": {
        "operationId": "listPostings",
        "summary": "What was booked, newest first, with the balance after each",
        "tags": [
          "accounts"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "pattern": "^[1-9][0-9]{0,17}$"
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
              "type": "string",
              "format": "date-time"
            },
            "in": "query",
            "name": "from",
            "required": false,
            "description": "inclusive"
          },
          {
            "schema": {
              "type": "string",
              "format": "date-time"
            },
            "in": "query",
            "name": "to",
            "required": false,
            "description": "exclusive"
          },
          {
            "schema": {
              "type": "string",
              "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
            },
            "in": "path",
            "name": "id",
            "required": true
          }
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
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
                          "seq",
                          "transferId",
                          "at",
                          "amount",
                          "balanceAfter",
                          "counterparty",
                          "reference",
                          "kind"
                        ],
                        "properties": {
                          "seq": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "counts the postings of this account without a gap"
                          },
                          "paymentId": {
                            "type": "string",
                            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                          },
                          "transferId": {
                            "type": "string",
                            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                          },
                          "at": {
                            "type": "string",
                            "format": "date-time"
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
                                "pattern": "^(0|-?[1-9][0-9]{0,17})$",
                                "description": "minor units, signed"
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
                            "title": "SignedMoney"
                          },
                          "balanceAfter": {
                            "type": "object",
                            "required": [
                              "amount",
                              "currency"
                            ],
                            "properties": {
                              "amount": {
                                "type": "string",
                                "pattern": "^(0|-?[1-9][0-9]{0,17})$",
                                "description": "minor units, signed"
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
                            "title": "SignedMoney"
                          },
                          "counterparty": {
                            "type": "object",
                            "required": [
                              "name",
                              "ibanMasked"
                            ],
                            "properties": {
                              "name": {
                                "type": "string"
                              },
                              "ibanMasked": {
                                "type": "string"
                              }
                            }
                          },
                          "reference": {
                            "type": "string"
                          },
                          "kind": {
                            "enum": [
                              "payment",
                              "opening",
                              "external"
                            ]
                          }
                        }
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
    "/api/payments/trial-balance": {
      "get": {
        "operationId": "getTrialBalance",
        "summary": "The sum of all postings per currency",
        "tags": [
          "ledger"
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
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
                    "currencies",
                    "balanced"
                  ],
                  "properties": {
                    "currencies": {
                      "type": "array",
                      "items": {
                        "type": "object",
                        "required": [
                          "currency",
                          "sum",
                          "accounts",
                          "postings"
                        ],
                        "properties": {
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
                          },
                          "sum": {
                            "type": "string",
                            "description": "minor units; zero when the books balance"
                          },
                          "accounts": {
                            "type": "integer"
                          },
                          "postings": {
                            "type": "integer"
                          }
                        }
                      }
                    },
                    "balanced": {
                      "type": "boolean"
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
    "/api/payments/": {
      "post": {
        "operationId": "placePayment",
        "summary": "Send money",
        "tags": [
          "payments"
        ],
        "requestBody": {
          "required": true,
          "content": {
            "application/json": {
              "schema": {
                "type": "object",
                "required": [
                  "debtorAccountId",
                  "creditor",
                  "amount"
                ],
                "properties": {
                  "debtorAccountId": {
                    "type": "string",
                    "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                  },
                  "creditor": {
                    "type": "object",
                    "required": [
                      "name"
                    ],
                    "properties": {
                      "name": {
                        "type": "string",
                        "maxLength": 70,
                        "pattern": "^(?=.*[\\\\p{L}\\\\p{N}])[^\\\\p{Cc}\\\\p{Cs}\\\\u061c\\\\u200e\\\\u200f\\\\u202a-\\\\u202e\\\\u2066-\\\\u2069]*$"
                      },
                      "iban": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 64,
                        "description": "spaces are allowed"
                      },
                      "accountId": {
                        "type": "string",
                        "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                      }
                    },
                    "additionalProperties": false,
                    "description": "named by iban or by accountId"
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
                  },
                  "reference": {
                    "type": "string",
                    "maxLength": 140,
                    "pattern": "^[^\\\\p{Cc}\\\\p{Cs}\\\\u061c\\\\u200e\\\\u200f\\\\u202a-\\\\u202e\\\\u2066-\\\\u2069]*$"
                  }
                },
                "additionalProperties": false
              }
            }
          }
        },
        "parameters": [
          {
            "schema": {
              "type": "string"
            },
            "in": "header",
            "name": "idempotency-key",
            "required": true,
            "description": "fresh for each payment, the same for each retry: 1 to 255 of A-Z a-z 0-9 _ -; kept for seven days"
          }
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
            ]
          }
        ],
        "responses": {
          "201": {
            "description": "The money has moved.",
            "headers": {
              "idempotency-replayed": {
                "schema": {
                  "type": "string",
                  "enum": [
                    "true"
                  ]
                },
                "description": "present when this is the first answer again"
              }
            },
            "content": {
              "application/json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "id",
                    "state",
                    "debtorAccountId",
                    "creditor",
                    "amount",
                    "reference",
                    "createdAt"
                  ],
                  "properties": {
                    "id": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "state": {
                      "enum": [
                        "posted",
                        "held",
                        "declined",
                        "cancelled"
                      ]
                    },
                    "debtorAccountId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "creditor": {
                      "type": "object",
                      "required": [
                        "name",
                        "ibanMasked"
                      ],
                      "properties": {
                        "name": {
                          "type": "string"
                        },
                        "ibanMasked": {
                          "type": "string"
                        }
                      }
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
                    },
                    "reference": {
                      "type": "string"
                    },
                    "createdAt": {
                      "type": "string",
                      "format": "date-time"
                    },
                    "transferId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "reasons": {
                      "type": "array",
                      "items": {
                        "type": "string"
                      },
                      "description": "codes: why it was held or declined"
                    }
                  },
                  "description": "The money has moved."
                }
              }
            }
          },
          "202": {
            "description": "The payment waits for a person, its money reserved.",
            "headers": {
              "idempotency-replayed": {
                "schema": {
                  "type": "string",
                  "enum": [
                    "true"
                  ]
                },
                "description": "present when this is the first answer again"
              }
            },
            "content": {
              "application/json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "id",
                    "state",
                    "debtorAccountId",
                    "creditor",
                    "amount",
                    "reference",
                    "createdAt"
                  ],
                  "properties": {
                    "id": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "state": {
                      "type": "string",
                      "enum": [
                        "held"
                      ]
                    },
                    "debtorAccountId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "creditor": {
                      "type": "object",
                      "required": [
                        "name",
                        "ibanMasked"
                      ],
                      "properties": {
                        "name": {
                          "type": "string"
                        },
                        "ibanMasked": {
                          "type": "string"
                        }
                      }
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
                    },
                    "reference": {
                      "type": "string"
                    },
                    "createdAt": {
                      "type": "string",
                      "format": "date-time"
                    },
                    "transferId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "reasons": {
                      "type": "array",
                      "items": {
                        "type": "string"
                      },
                      "description": "codes: why it was held or declined"
                    }
                  },
                  "description": "The payment waits for a person, its money reserved."
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
    "/api/payments/{id}": {
      "get": {
        "operationId": "getPayment",
        "summary": "One payment that you ordered",
        "tags": [
          "payments"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
            },
            "in": "path",
            "name": "id",
            "required": true
          }
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
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
                    "id",
                    "state",
                    "debtorAccountId",
                    "creditor",
                    "amount",
                    "reference",
                    "createdAt"
                  ],
                  "properties": {
                    "id": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "state": {
                      "enum": [
                        "posted",
                        "held",
                        "declined",
                        "cancelled"
                      ]
                    },
                    "debtorAccountId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "creditor": {
                      "type": "object",
                      "required": [
                        "name",
                        "ibanMasked"
                      ],
                      "properties": {
                        "name": {
                          "type": "string"
                        },
                        "ibanMasked": {
                          "type": "string"
                        }
                      }
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
                    },
                    "reference": {
                      "type": "string"
                    },
                    "createdAt": {
                      "type": "string",
                      "format": "date-time"
                    },
                    "transferId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "reasons": {
                      "type": "array",
                      "items": {
                        "type": "string"
                      },
                      "description": "codes: why it was held or declined"
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
    "/api/payments/{id}/cancel": {
      "post": {
        "operationId": "cancelPayment",
        "summary": "Take a held payment back",
        "tags": [
          "payments"
        ],
        "description": "Needs no key: a second call is refused with already_resolved and changes nothing.",
        "parameters": [
          {
            "schema": {
              "type": "string",
              "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
            },
            "in": "path",
            "name": "id",
            "required": true
          }
        ],
        "security": [
          {
            "bearer": [
              "payment-api"
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
                    "id",
                    "state",
                    "debtorAccountId",
                    "creditor",
                    "amount",
                    "reference",
                    "createdAt"
                  ],
                  "properties": {
                    "id": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "state": {
                      "enum": [
                        "posted",
                        "held",
                        "declined",
                        "cancelled"
                      ]
                    },
                    "debtorAccountId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "creditor": {
                      "type": "object",
                      "required": [
                        "name",
                        "ibanMasked"
                      ],
                      "properties": {
                        "name": {
                          "type": "string"
                        },
                        "ibanMasked": {
                          "type": "string"
                        }
                      }
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
                    },
                    "reference": {
                      "type": "string"
                    },
                    "createdAt": {
                      "type": "string",
                      "format": "date-time"
                    },
                    "transferId": {
                      "type": "string",
                      "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
                    },
                    "reasons": {
                      "type": "array",
                      "items": {
                        "type": "string"
                      },
                      "description": "codes: why it was held or declined"
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
    }
  }
}
`
