"""CloudTrail's files, in a folder or a bucket: each record once, and CloudTrail's own digest chain checked.

digest.py   digest files: parsed, signatures verified, the chain followed
store.py    where files are: a folder, or an S3-compatible bucket
source.py   `TrailSource`: new files, record by record, and the verdict on each digest
"""
