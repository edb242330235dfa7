"""A stand-in for AWS Batch: its REST API as far as a yard needs it, and jobs as processes of this machine.

One thread owns all jobs (`runner`): it starts them, sees them end, and moves their states. Requests (`service`) only
note what is wanted. Each change is told (`changes`) as EventBridge would tell it. Shapes are those of
https://docs.aws.amazon.com/batch/latest/APIReference/.
"""
