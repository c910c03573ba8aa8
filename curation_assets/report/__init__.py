"""The curation report: what it shows (`data`), its pictures (`figures`) and the page itself (`page`)."""
