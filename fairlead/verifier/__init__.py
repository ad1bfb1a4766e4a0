"""The verifier that needs only files and public keys: a second reading of the formats.

It imports the standard library and ``cryptography`` alone, never the rest of the product: whoever
doubts the one can read the other. Its files are written so that :mod:`fairlead.verifier.single`
can join them into one, which evidence files carry along; no two of them use the same name.

======================  =====================================================================
:mod:`.finding`         what is proved, what is not, and which item fails
:mod:`.wire`            canonical protobuf
:mod:`.tree`            RFC 6962 proofs
:mod:`.note`            signed notes, checkpoints, tlog-proofs, cosignatures (C2SP)
:mod:`.group`           ristretto255 in plain Python
:mod:`.oblivious`       RFC 9497: blinds, proofs of evaluation, index entries
:mod:`.sealed`          HPKE: an answer opened with the query's reply key
:mod:`.anchors`         trust anchors and directories
:mod:`.people`          certificates of people
:mod:`.asked`           the signed front of a query
:mod:`.answered`        intent, outcome and answers
:mod:`.lookup`          blind answers
:mod:`.chunks`          one query, chunk by chunk
:mod:`.pages`           the readable page around it all
:mod:`.summary`         what it says
:mod:`.check`           the procedure
:mod:`.command`         the command
======================  =====================================================================
"""
