/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`bff/test/pages.test.ts > TAP > publishes the document of its own routes > OpenAPI 1`] = `
{
  "openapi": "3.1.0",
  "info": {
    "title": "Edge",
    "description": "Login, sessions and the way to the services. Browsers only: tokens stay here.",
    "version": "1"
  },
  "components": {
    "securitySchemes": {
      "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-session",
        "description": "The session cookie; a script sends X-CSRF: 1 beside it."
      }
    },
    "schemas": {}
  },
  "paths": {
    "/oauth2/start": {
      "get": {
        "operationId": "startLogin",
        "summary": "Redirects to the identity provider’s login page",
        "tags": [
          "login"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "maxLength": 4096
            },
            "in": "query",
            "name": "return_to",
            "required": false,
            "description": "path of this site to come back to; anything else means \\"/\\""
          },
          {
            "schema": {
              "type": "string",
              "maxLength": 8
            },
            "in": "query",
            "name": "again",
            "required": false,
            "description": "set when a login is begun anew by itself: a live session is kept"
          }
        ],
        "responses": {
          "302": {
            "description": "to the identity provider"
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
    "/oauth2/callback": {
      "get": {
        "operationId": "finishLogin",
        "summary": "Takes the identity provider’s answer, begins the session and leads back to the page",
        "tags": [
          "login"
        ],
        "responses": {
          "302": {
            "description": "to the page that was asked for"
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
    "/oauth2/userinfo": {
      "get": {
        "operationId": "getUserinfo",
        "summary": "The person of this session and when it ends; needs X-CSRF: 1",
        "tags": [
          "session"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string",
              "enum": [
                "1"
              ]
            },
            "in": "query",
            "name": "anonymous",
            "required": false,
            "description": "nobody is an answer too: 200 with a reason, not 401"
          }
        ],
        "security": [
          {
            "session": []
          }
        ],
        "responses": {
          "200": {
            "description": "who, or nobody",
            "content": {
              "application/json": {
                "schema": {
                  "anyOf": [
                    {
                      "type": "object",
                      "required": [
                        "sub",
                        "name",
                        "givenName",
                        "roles",
                        "session"
                      ],
                      "properties": {
                        "sub": {
                          "type": "string"
                        },
                        "name": {
                          "type": "string"
                        },
                        "givenName": {
                          "type": "string"
                        },
                        "email": {
                          "type": "string"
                        },
                        "roles": {
                          "type": "array",
                          "items": {
                            "type": "string"
                          }
                        },
                        "session": {
                          "type": "object",
                          "required": [
                            "createdAt",
                            "authTime",
                            "lastSeenAt",
                            "idleTimeoutAt",
                            "absoluteTimeoutAt"
                          ],
                          "properties": {
                            "createdAt": {
                              "type": "string",
                              "format": "date-time"
                            },
                            "authTime": {
                              "type": "string",
                              "format": "date-time"
                            },
                            "lastSeenAt": {
                              "type": "string",
                              "format": "date-time"
                            },
                            "idleTimeoutAt": {
                              "type": "string",
                              "format": "date-time"
                            },
                            "absoluteTimeoutAt": {
                              "type": "string",
                              "format": "date-time"
                            }
                          }
                        }
                      }
                    },
                    {
                      "type": "object",
                      "required": [
                        "reason"
                      ],
                      "properties": {
                        "reason": {
                          "type": "string",
                          "description": "how the last session ended, or none"
                        }
                      }
                    }
                  ],
                  "description": "who, or nobody"
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
    "/oauth2/sign_out": {
      "post": {
        "operationId": "signOut",
        "summary": "Ends the session; a script sends X-CSRF: 1, a form of this site needs nothing",
        "tags": [
          "session"
        ],
        "security": [
          {
            "session": []
          },
          {}
        ],
        "responses": {
          "200": {
            "description": "Default Response",
            "content": {
              "application/json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "location"
                  ],
                  "properties": {
                    "location": {
                      "type": "string",
                      "description": "where to go now: the provider’s logout, which leads back here"
                    }
                  }
                }
              }
            }
          },
          "303": {
            "description": "a form’s answer"
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
    "/oauth2/sessions": {
      "get": {
        "operationId": "listSessions",
        "summary": "The sessions of this person; needs X-CSRF: 1",
        "tags": [
          "session"
        ],
        "security": [
          {
            "session": []
          }
        ],
        "responses": {
          "200": {
            "description": "newest first",
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
                          "current",
                          "device",
                          "createdAt",
                          "lastSeenAt",
                          "expiresAt"
                        ],
                        "properties": {
                          "id": {
                            "type": "string",
                            "description": "names the session here; it opens nothing"
                          },
                          "current": {
                            "type": "boolean",
                            "description": "the session that asks"
                          },
                          "device": {
                            "type": "string",
                            "description": "what the browser called itself at the login"
                          },
                          "createdAt": {
                            "type": "string",
                            "format": "date-time"
                          },
                          "lastSeenAt": {
                            "type": "string",
                            "format": "date-time"
                          },
                          "expiresAt": {
                            "type": "string",
                            "format": "date-time"
                          }
                        }
                      }
                    }
                  },
                  "description": "newest first"
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
      },
      "delete": {
        "operationId": "endOtherSessions",
        "summary": "Ends all other sessions of this person; needs X-CSRF: 1",
        "tags": [
          "session"
        ],
        "security": [
          {
            "session": []
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
                    "ended"
                  ],
                  "properties": {
                    "ended": {
                      "type": "integer",
                      "description": "how many sessions that were"
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
    "/oauth2/sessions/{id}": {
      "delete": {
        "operationId": "endSession",
        "summary": "Ends one session of this person; needs X-CSRF: 1",
        "tags": [
          "session"
        ],
        "parameters": [
          {
            "schema": {
              "type": "string"
            },
            "in": "path",
            "name": "id",
            "required": true
          }
        ],
        "security": [
          {
            "session": []
          }
        ],
        "responses": {
          "204": {
            "description": "it is over, on every replica"
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
    "/oauth2/backchannel_logout": {
      "post": {
        "operationId": "backchannelLogout",
        "summary": "The identity provider ends sessions: a form with one logout_token",
        "tags": [
          "session"
        ],
        "responses": {
          "200": {
            "description": "ended, or there was none"
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
    "/oauth2/jwks": {
      "get": {
        "operationId": "getClientKeys",
        "summary": "Public keys of this client",
        "tags": [
          "login"
        ],
        "responses": {
          "200": {
            "description": "a JWK Set",
            "content": {
              "application/json": {
                "schema": {
                  "type": "object",
                  "required": [
                    "keys"
                  ],
                  "properties": {
                    "keys": {
                      "type": "array",
                      "items": {
                        "type": "object",
                        "required": [
                          "kty",
                          "kid",
                          "use",
                          "alg"
                        ],
                        "properties": {
                          "kty": {
                            "type": "string"
                          },
                          "crv": {
                            "type": "string"
                          },
                          "x": {
                            "type": "string"
                          },
                          "y": {
                            "type": "string"
                          },
                          "n": {
                            "type": "string"
                          },
                          "e": {
                            "type": "string"
                          },
                          "kid": {
                            "type": "string"
                          },
                          "use": {
                            "type": "string"
                          },
                          "alg": {
                            "type": "string"
                          }
                        }
                      }
                    }
                  },
                  "description": "a JWK Set"
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
