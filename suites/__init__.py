"""Everything that makes records: plan, subjects, probes, workers. Of reports it knows the record and the store."""
