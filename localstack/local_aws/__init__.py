"""A local AWS: MiniStack with the stacks of a yard in it, and a stand-in for AWS Batch."""
