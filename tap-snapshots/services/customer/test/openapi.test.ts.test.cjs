/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`services/customer/test/openapi.test.ts > TAP > publishes this document > must match snapshot 1`] = `
{
  "openapi": "3.1.0",
  "info": {
    "title": "Customers",
    "description": "Who the customer is. Personal data leaves masked, and every look by staff is recorded.",
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
    "/api/customers/me": {
      "get": {
        "operationId": "getOwnProfile",
        "summary": "The customer’s own profile, masked",
        "tags": [
          "customers"
        ],
        "security": [
          {
            "bearer": [
              "customer-api"
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
                    "givenName",
                    "familyName",
                    "email",
                    "phone",
                    "birthDate",
                    "address",
                    "state",
                    "memberSince"
                  ],
                  "properties": {
                    "id": {
                      "type": "string"
                    },
                    "givenName": {
                      "type": "string"
                    },
                    "familyName": {
                      "type": "string"
                    },
                    "email": {
                      "type": "string",
                      "description": "masked: a•••@example.org"
                    },
                    "phone": {
                      "type": "string",
                      "description": "masked: the last two digits"
                    },
                    "birthDate": {
                      "type": "string",
                      "description": "masked: the year"
                    },
                    "address": {
                      "type": "object",
                      "required": [
                        "street",
                        "postalCode",
                        "city",
                        "country"
                      ],
                      "properties": {
                        "street": {
                          "type": "string"
                        },
                        "postalCode": {
                          "type": "string"
                        },
                        "city": {
                          "type": "string"
                        },
                        "country": {
                          "type": "string",
                          "description": "ISO 3166-1 alpha-2"
                        }
                      }
                    },
                    "state": {
                      "enum": [
                        "active",
                        "restricted"
                      ]
                    },
                    "memberSince": {
                      "type": "string",
                      "format": "date-time"
                    }
                  },
                  "title": "Profile"
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
    "/api/customers/{id}": {
      "get": {
        "operationId": "getCustomer",
        "summary": "One customer, for staff with a purpose; every look is recorded",
        "tags": [
          "customers"
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
          },
          {
            "schema": {
              "type": "string"
            },
            "in": "header",
            "name": "x-purpose",
            "required": true,
            "description": "why this customer is looked at: 8 to 200 printable characters"
          }
        ],
        "security": [
          {
            "bearer": [
              "customer-api"
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
                    "givenName",
                    "familyName",
                    "email",
                    "phone",
                    "birthDate",
                    "address",
                    "state",
                    "memberSince"
                  ],
                  "properties": {
                    "id": {
                      "type": "string"
                    },
                    "givenName": {
                      "type": "string"
                    },
                    "familyName": {
                      "type": "string"
                    },
                    "email": {
                      "type": "string",
                      "description": "masked: a•••@example.org"
                    },
                    "phone": {
                      "type": "string",
                      "description": "masked: the last two digits"
                    },
                    "birthDate": {
                      "type": "string",
                      "description": "masked: the year"
                    },
                    "address": {
                      "type": "object",
                      "required": [
                        "street",
                        "postalCode",
                        "city",
                        "country"
                      ],
                      "properties": {
                        "street": {
                          "type": "string"
                        },
                        "postalCode": {
                          "type": "string"
                        },
                        "city": {
                          "type": "string"
                        },
                        "country": {
                          "type": "string",
                          "description": "ISO 3166-1 alpha-2"
                        }
                      }
                    },
                    "state": {
                      "enum": [
                        "active",
                        "restricted"
                      ]
                    },
                    "memberSince": {
                      "type": "string",
                      "format": "date-time"
                    }
                  },
                  "title": "Profile"
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
