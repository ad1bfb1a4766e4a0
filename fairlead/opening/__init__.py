"""Opening sealed detail: an auditor asks, a committee's members each decide, and k of them open.

Everything travels in files, and nothing of it needs a service: a request that the auditor signed,
an answer of each oversight, and the directory that says whose keys count. See PROTOCOL §5 and
``docs/audit.md``.
"""
