"""Tell the student where instances lie among prototypes that both models know.

Tang et al., "Distilling Object Detectors with Global Knowledge", ECCV 2022,
https://arxiv.org/abs/2210.09022.
"""

from keras_distill.methods.instances import pool_instances as pool_instances
from keras_distill.methods.prototypes import select_prototypes as select_prototypes
