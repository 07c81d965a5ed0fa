# s4GAN (Mittal et al., TPAMI 2021). Both networks step after one backward.
method = dict(type="S4GAN", discriminator=dict(type="S4GANDiscriminator"))
adam = dict(type="Adam", lr=1e-4, betas=(0.9, 0.99))
optimizers = dict(constructor="JointOptimWrapperConstructor", discriminator=dict(optimizer=adam))
# Cityscapes.
slow_discriminator = dict(optimizers, discriminator=dict(optimizer=dict(adam, lr=1e-5)))
# For the narrow net of the built-in set.
narrow = dict(type="S4GANDiscriminator", base_channels=16)
