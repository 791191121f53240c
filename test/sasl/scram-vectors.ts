/**
 * Exchanges of an independent implementation (scramp 1.4.17 for Python, client and server checking
 * each other) where the RFCs print none. Username `a=b,c@example.com`, password `pencil`, client
 * nonce as in RFC 5802 §5, salt `0123456789abcdef`.
 */
export interface ScramVector {
  readonly name: string;
  readonly binding?: { readonly type: string; readonly hex: string };
  readonly clientFirst: string;
  readonly serverFirst: string;
  readonly clientFinal: string;
  readonly serverFinal: string;
}

export const vectors: readonly ScramVector[] = [
  {
    name: "SCRAM-SHA-512",
    clientFirst: "n,,n=a=3Db=2Cc@example.com,r=fyko+d2lbbFgONRv9qkxdawL",
    serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=10000",
    clientFinal:
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=shck3p0UmzgNwOIQmLQg5mkW9Ih+Oo1FTVh57hP8v6GfEI3bXHW9jwMdesyjoREoJeeX9kTfpzstUdsHDC+17g==",
    serverFinal:
      "v=9eAtm3U3u9OykDeaJ1FwnDpMh8ECtAmuutwqPIzREiqKlGRnH+OL7okrASzbcc0cLh/qjB3M63GsPhG4yPMlJg==",
  },
  {
    name: "SCRAM-SHA-1-PLUS",
    binding: {
      type: "tls-exporter",
      hex: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    },
    clientFirst: "p=tls-exporter,,n=a=3Db=2Cc@example.com,r=fyko+d2lbbFgONRv9qkxdawL",
    serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
    clientFinal:
      "c=cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=9s68JMLEXeSz+5nNiv4kajsxwfE=",
    serverFinal: "v=SQABVUxGfnqKuTCTxYSj4Lwn6u4=",
  },
  {
    name: "SCRAM-SHA-256-PLUS",
    binding: {
      type: "tls-server-end-point",
      hex: "03d66dd08835c1ca3f128cceacd1f31ac94163096b20f445ae84285bc0832d72",
    },
    clientFirst: "p=tls-server-end-point,,n=a=3Db=2Cc@example.com,r=fyko+d2lbbFgONRv9qkxdawL",
    serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
    clientFinal:
      "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsA9Zt0Ig1wco/EozOrNHzGslBYwlrIPRFroQoW8CDLXI=,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=38HnvZGokHl42lHPKJ/O/Xf0EDxisHzaPYKyyLhl2R8=",
    serverFinal: "v=2s0rhsTTrOtWo9uK8VodXmCiu+VLNZoxdMYdV2gZq4k=",
  },
  {
    name: "SCRAM-SHA-512-PLUS",
    binding: {
      type: "tls-exporter",
      hex: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    },
    clientFirst: "p=tls-exporter,,n=a=3Db=2Cc@example.com,r=fyko+d2lbbFgONRv9qkxdawL",
    serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=10000",
    clientFinal:
      "c=cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=8eDsIDi6HutN61Gl5ZPwJ8au9J/yydoZAujPJpeMC9bU5HFeuFF36tI6xNn+QtPkQcqaCwVHxJLp3pgSrcgQKg==",
    serverFinal:
      "v=f0iTwosZuiHppc3HfzsbuAexP9W0bEOxb4IT5j4WOe6ycE86gXaGu/Vbdu9EHcQL3ZrbAWKz5nMBU+/Jfp7M/A==",
  },
  {
    name: "SCRAM-SHA-256",
    binding: {
      type: "tls-exporter",
      hex: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    },
    clientFirst: "y,,n=a=3Db=2Cc@example.com,r=fyko+d2lbbFgONRv9qkxdawL",
    serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
    clientFinal:
      "c=eSws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v7zpxSg+8q08ATs+kxrcV+EZEd73rjflDKDA/dgCzUc=",
    serverFinal: "v=ee6NmcGxPV3kfufCpUOtTaFbrVq83jKR6gk0KRjImvE=",
  },
];
