"""Matchers: which slot answers for which object.

A matcher maps the `StagePredictions` of one stage and the batch's targets to one `Assignment` an image: one-to-one, and
as many pairs as the smaller of valid slots and objects, unless the slots answer for regions of their own. `Greedy`
follows COCO's rule instead. `TaskAligned` is the dense head's one-to-many assignment.
"""
