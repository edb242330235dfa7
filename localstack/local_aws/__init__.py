"""A local AWS: MiniStack with what the shared spec describes in it, and a stand-in for AWS Batch."""
