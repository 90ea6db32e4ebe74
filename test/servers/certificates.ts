/**
 * Throw-away certificates. They are made where the examples can use them too, which need nothing of the tests.
 */
export * from "../../examples/support/certificates.js"
