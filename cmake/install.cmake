# What "cmake --install" puts where: libraries, headers, pkg-config, CMake package, program, pages.
include(CMakePackageConfigHelpers)

install(TARGETS weir_shared weir_ikcp_shared EXPORT weir_shared_targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS weir_static weir_ikcp_static EXPORT weir_static_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
        FILES_MATCHING PATTERN "*.h")

# The prefix is found from the .pc file's own place, so that a staged or moved tree works as it is.
file(RELATIVE_PATH WEIR_PC_PREFIX "/x/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/x")
string(REGEX REPLACE "/$" "" WEIR_PC_PREFIX "${WEIR_PC_PREFIX}")
configure_file(cmake/weir.pc.in weir.pc @ONLY)
configure_file(cmake/weir-ikcp.pc.in weir-ikcp.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weir.pc ${PROJECT_BINARY_DIR}/weir-ikcp.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
        COMPONENT development)

# Two sets: a program that links the shared library needs nothing of what the static one needs.
set(WEIR_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
install(EXPORT weir_shared_targets NAMESPACE weir:: DESTINATION ${WEIR_CMAKE_DIR}
        FILE weir-shared-targets.cmake COMPONENT development)
install(EXPORT weir_static_targets NAMESPACE weir:: DESTINATION ${WEIR_CMAKE_DIR}
        FILE weir-static-targets.cmake COMPONENT development)
configure_package_config_file(cmake/weir-config.cmake.in weir-config.cmake
                              INSTALL_DESTINATION ${WEIR_CMAKE_DIR})
write_basic_package_version_file(weir-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weir-config.cmake
        ${PROJECT_BINARY_DIR}/weir-config-version.cmake
        DESTINATION ${WEIR_CMAKE_DIR} COMPONENT development)

if(TARGET weir)
    install(TARGETS weir RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
    file(GLOB WEIR_PAGES CONFIGURE_DEPENDS man/*.1)
    install(FILES ${WEIR_PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
    install(FILES completions/weir.bash RENAME weir COMPONENT program
            DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES completions/_weir COMPONENT program
            DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
    install(FILES completions/weir.fish COMPONENT program
            DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
